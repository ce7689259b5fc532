"""A client's ledger as the audit sees it: charges, and what came of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from common.audit.records import RunRecords
from common.audit.server_records import ServerRecords
from common.ledger import Abort, Acknowledged, Amend, LedgerView, Release, Reserve
from common.privacy.mechanisms import Mechanism, Unprotected, merge
from common.transparency.leaves import LoggedRound


@dataclass(frozen=True, kw_only=True)
class Charge:
    """One RESERVE entry.

    Args:
        sequence: its number in the ledger.
        num_examples: public size n of the data set at this entry.
        update: hash of the update that was released for it, None where none was.
        release: number of the RELEASE entry, None where nothing was released.
        aborted: whether the client recorded that nothing would be released.
    """

    sequence: int
    body: Reserve
    num_examples: int
    update: str | None
    release: int | None
    aborted: bool

    @property
    def protected(self) -> bool:
        """Whether everything it charges adds noise."""
        return not any(isinstance(mechanism, Unprotected) for mechanism in self.body.mechanisms)


@dataclass(frozen=True, kw_only=True)
class ClientLedger:
    """A readable ledger with its charges in order.

    Args:
        place: name of the file, for findings.
    """

    partition_id: int
    view: LedgerView
    charges: tuple[Charge, ...]
    place: str

    def at(self, sequence: int) -> str:
        """Name an entry, for findings."""
        return f"{self.place} entry {sequence}"

    def entry(self, charge: Charge) -> str:
        """Name a charge, for findings."""
        return self.at(charge.sequence)

    def receipts(self) -> list[tuple[int, Acknowledged]]:
        """Return the server's receipts with the numbers of their entries."""
        return [(e.sequence, e.body) for e in self.view.entries if isinstance(e.body, Acknowledged)]

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
        ClientLedger(
            partition_id=partition_id, view=view, charges=_charges(view), place=records.places[partition_id]
        )
        for partition_id, view in sorted(records.ledgers.items())
    )


def run_of(records: RunRecords, ledgers: Iterable[ClientLedger]) -> str:
    """Find the run's name: the one under which the recorded updates were released.

    A data set may serve several runs. Falls back to the run whose rounds the server logged, then to the one
    charged most often; empty without any.
    """
    recorded = {(entry.round, update) for entry in records.rounds for update in entry.updates.values()}
    charges = [charge for ledger in ledgers for charge in ledger.charges]
    matching = [c.body.run for c in charges if (c.body.round, c.update) in recorded]
    names = Counter(matching or _logged_runs(records) or [c.body.run for c in charges])
    return min(names, key=lambda name: (-names[name], name), default="")


def _logged_runs(records: RunRecords) -> list[str]:
    if not isinstance(records.server, ServerRecords):
        return []
    told = set(records.round_hashes)
    return [leaf.run for _, leaf in records.server.of_kind(LoggedRound) if leaf.record in told]


def _charges(view: LedgerView) -> tuple[Charge, ...]:
    released, aborted = _closings(view)
    charges = []
    num_examples = view.genesis.num_examples
    for entry in view.entries:
        match entry.body:
            case Amend():
                num_examples = entry.body.num_examples
            case Reserve():
                release, update = released.get(entry.sequence, (None, None))
                charge = Charge(
                    sequence=entry.sequence,
                    body=entry.body,
                    num_examples=num_examples,
                    update=update,
                    release=release,
                    aborted=entry.sequence in aborted,
                )
                charges.append(charge)
    return tuple(charges)


def _closings(view: LedgerView) -> tuple[dict[int, tuple[int, str]], set[int]]:
    """Return what was released, by charge, and which charges were aborted."""
    released = {
        entry.body.reserve: (entry.sequence, entry.body.update)
        for entry in view.entries
        if isinstance(entry.body, Release)
    }
    return released, {entry.body.reserve for entry in view.entries if isinstance(entry.body, Abort)}
