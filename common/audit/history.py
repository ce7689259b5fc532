"""A client's ledger as the audit sees it: charges, and what came of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from common.audit.records import RoundRecord, RunRecords
from common.ledger import LedgerView, Release, Reserve
from common.privacy.mechanisms import Mechanism, Unprotected, merge


@dataclass(frozen=True, kw_only=True)
class Charge:
    """One RESERVE entry.

    Args:
        sequence: its number in the ledger.
        update: hash of the update that was released for it, None where none was.
    """

    sequence: int
    body: Reserve
    update: str | None

    @property
    def protected(self) -> bool:
        """Whether everything it charges adds noise."""
        return not any(isinstance(mechanism, Unprotected) for mechanism in self.body.mechanisms)


@dataclass(frozen=True, kw_only=True)
class ClientLedger:
    """A readable ledger with its charges in order."""

    partition_id: int
    view: LedgerView
    charges: tuple[Charge, ...]

    @property
    def place(self) -> str:
        """Name the file, for findings."""
        return f"ledgers/client-{self.partition_id}.jsonl"

    def entry(self, charge: Charge) -> str:
        """Name a charge, for findings."""
        return f"{self.place} entry {charge.sequence}"

    def by_round(self, run: str) -> dict[int, list[Charge]]:
        """Return the charges of each round of one run; several for a round after a crash."""
        rounds: dict[int, list[Charge]] = {}
        for charge in self.charges:
            if charge.body.run == run:
                rounds.setdefault(charge.body.round, []).append(charge)
        return rounds

    def mechanisms(self) -> tuple[Mechanism, ...]:
        """Return everything ever charged, merged."""
        return merge(mechanism for charge in self.charges for mechanism in charge.body.mechanisms)

    def mechanisms_by_round(self, run: str, rounds: int) -> list[tuple[Mechanism, ...]]:
        """Return, for each round, everything charged before a later round of the run began."""
        later = [c.body.round if c.body.run == run else 0 for c in self.charges]
        merged: list[tuple[Mechanism, ...]] = []
        taken, history = 0, tuple[Mechanism, ...]()
        for number in range(1, rounds + 1):
            new: list[Mechanism] = []
            while taken < len(later) and later[taken] <= number:
                new += self.charges[taken].body.mechanisms
                taken += 1
            history = merge((*history, *new)) if new else history
            merged.append(history)
        return merged


def client_ledgers(records: RunRecords) -> tuple[ClientLedger, ...]:
    """Return the readable ledgers by partition."""
    return tuple(
        ClientLedger(partition_id=partition_id, view=view, charges=_charges(view))
        for partition_id, view in sorted(records.ledgers.items())
    )


def run_of(rounds: Iterable[RoundRecord], ledgers: Iterable[ClientLedger]) -> str:
    """Find the run's name in the ledgers: the one under which the recorded updates were released.

    A data set may serve several runs. Falls back to the run charged most often; empty without a charge.
    """
    recorded = {(entry.round, update) for entry in rounds for update in entry.updates.values()}
    charges = [charge for ledger in ledgers for charge in ledger.charges]
    matching = [c.body.run for c in charges if (c.body.round, c.update) in recorded]
    names = Counter(matching or [c.body.run for c in charges])
    return min(names, key=lambda name: (-names[name], name), default="")


def _charges(view: LedgerView) -> tuple[Charge, ...]:
    released = {
        entry.body.reserve: entry.body.update for entry in view.entries if isinstance(entry.body, Release)
    }
    return tuple(
        Charge(sequence=entry.sequence, body=entry.body, update=released.get(entry.sequence))
        for entry in view.entries
        if isinstance(entry.body, Reserve)
    )
