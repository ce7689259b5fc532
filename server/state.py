"""The state of a run: everything that must survive a crash, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from common.arrays import Arrays
from common.config import FederationSettings
from common.errors import LedgerFork
from common.ledger import LedgerView
from common.protocol import Refusal


@dataclass(frozen=True, kw_only=True)
class ClientRecord:
    """What the server knows of one client: public facts and its verified ledger.

    Args:
        node_id: its address in the network.
        partition_id: its number.
        num_examples: its public n.
        ledger: its entries so far.
    """

    node_id: int
    partition_id: int
    num_examples: int
    ledger: LedgerView


@dataclass(frozen=True, kw_only=True)
class TurnedAway:
    """A node that takes no part in a run.

    Args:
        node_id: its address in the network.
        refusal: why; its number is what the node claimed, -1 where it claimed none.
        text: the same as one line, for a log.
    """

    node_id: int
    refusal: Refusal
    text: str


@dataclass(frozen=True, kw_only=True)
class KnownLedger:
    """How much of a client's ledger the server has seen: later it may be longer, never shorter.

    Args:
        entries: how many.
        head: SHA-256 (hex) of the last of them.
    """

    entries: int
    head: str

    def refuse_less(self, partition_id: int, ledger: LedgerView) -> None:
        """Refuse a ledger that does not begin with what was seen.

        Raises:
            LedgerFork: when entries are missing or other ones stand in their place.
        """
        if len(ledger.entries) < self.entries or ledger.entries[self.entries - 1].hash != self.head:
            raise LedgerFork(
                f"the ledger of client {partition_id} lacks entries that this run has seen "
                f"({self.entries} of them): put its newest copy back"
            )


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run between two rounds.

    Args:
        run: the run's id, as written into every charge.
        round: rounds finished so far.
        arrays: the global model.
        velocity: the server's momentum, shaped like `arrays`.
        second_moment: of updates, shaped like `arrays`; None where the server's optimiser keeps none.
        average: of the model over rounds, shaped like `arrays`; None where none is kept.
        variates: by partition number, what SCAFFOLD knows of a client; None where drift is not corrected.
        clients: by partition number; asked for again when a run is resumed.
        retired: clients that are left out from now on, with their reason.
        known: by partition number, the ledgers as of the last checkpoint.
        ended: why the run stopped here; empty while it goes on.
        turned_away: nodes that could not join; told with the next round, then forgotten.
    """

    run: str
    round: int
    arrays: Arrays
    velocity: Arrays
    second_moment: Arrays | None = None
    average: Arrays | None = None
    variates: dict[int, Arrays] | None = None
    clients: dict[int, ClientRecord] = field(default_factory=dict)
    retired: dict[int, Refusal] = field(default_factory=dict)
    known: dict[int, KnownLedger] = field(default_factory=dict)
    ended: str = ""
    turned_away: tuple[TurnedAway, ...] = ()

    @property
    def result(self) -> Arrays:
        """The model that the run gives so far: evaluated and kept; training goes on from `arrays`."""
        return self.arrays if self.average is None else self.average

    @property
    def seen(self) -> dict[int, KnownLedger]:
        """Every client's ledger as far as it is known now."""
        return self.known | {
            number: KnownLedger(entries=len(client.ledger.entries), head=client.ledger.head)
            for number, client in self.clients.items()
        }

    @property
    def active(self) -> list[int]:
        """Partition numbers of the clients that can still be asked, ascending."""
        return sorted(set(self.clients) - set(self.retired))

    def needed(self, min_train_clients: int) -> int:
        """Return how many clients must be able to go on: never more than there are."""
        return min(min_train_clients, len(self.clients))

    def can_go_on(self, federation: FederationSettings) -> bool:
        """Say whether rounds are left and enough clients can still be asked."""
        enough = len(self.active) >= self.needed(federation.min_train_clients)
        return enough and self.round < federation.num_server_rounds


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """What one round gave, as one line of `rounds.jsonl` tells it.

    Args:
        refused: clients that were asked and gave nothing usable.
        input_model: SHA-256 (hex) of the model that the round began with.
        model: SHA-256 (hex) of the model that the next round begins with.
        average_model: SHA-256 (hex) of the average over rounds, which is evaluated; empty where none is kept.
        turned_away: those that could not join before this round.
    """

    round: int
    updates: dict[int, str]
    refused: tuple[Refusal, ...]
    input_model: str
    model: str
    metrics: dict[str, float]
    seconds: float
    turned_away: tuple[Refusal, ...] = ()
    average_model: str = ""

    @property
    def line(self) -> str:
        """The line of `rounds.jsonl`, without its newline."""
        return json.dumps(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the line's fields."""
        return {
            "round": self.round,
            **self.metrics,
            "participants": sorted(self.updates),
            "refused": [
                {"partition_id": r.partition_id, "code": r.code, "reason": r.reason}
                for r in (*self.refused, *self.turned_away)
            ],
            "seconds": round(self.seconds, 3),
            "input_model": self.input_model,
            "model": self.model,
            **({"average_model": self.average_model} if self.average_model else {}),
            "updates": {str(partition): update for partition, update in sorted(self.updates.items())},
        }
