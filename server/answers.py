"""What a round's replies come to: a mean of the usable ones, and reasons for the others."""

from __future__ import annotations

from dataclasses import replace

from common.arrays import Arrays, digest
from common.errors import FedLedgerError, MessageError
from common.ledger import LedgerView, Release, Reserve
from common.protocol import Refusal, Reply, Update
from server.aggregation import StreamingMean, check_update
from server.drift import DriftCorrection
from server.proposals import Asked
from server.state import ClientRecord, RunState
from server.strategy import FedAvg

LASTING_REFUSALS = frozenset(
    {"budget-exhausted", "policy-refused", "config", "data", "weights", "ledger-tampered"}
)
"""Refusals that the next round would only repeat: the client is left out from then on."""


class Answers:
    """Takes replies one by one, holding one model at a time.

    A reply that is not what was agreed is dropped with its reason and never averaged; `not_taken` holds the
    reasons by node, for these do not know them.
    """

    def __init__(self, state: RunState, strategy: FedAvg, drift: DriftCorrection | None = None) -> None:
        self._state = state
        self._strategy = strategy
        self._drift = drift
        self._variates: dict[int, Arrays] = {}
        self.mean = StreamingMean(state.arrays)
        self.updates: dict[int, str] = {}
        self.clients: dict[int, ClientRecord] = {}
        self.refused: list[Refusal] = []
        self.not_taken: dict[int, str] = {}

    @property
    def retired(self) -> dict[int, Refusal]:
        """Return the clients of this round that need not be asked again."""
        return {r.partition_id: r for r in self.refused if r.code in LASTING_REFUSALS}

    @property
    def variates(self) -> dict[int, Arrays] | None:
        """Return every client's control variate after this round; None where drift is not corrected."""
        return None if self._drift is None else {**self._drift.variates, **self._variates}

    def take(self, partition_id: int, reply: Reply, asked: Asked) -> None:
        """Take in one client's reply to what it was asked, or note why not."""
        try:
            self._average(self._state.clients[partition_id], reply, asked)
        except FedLedgerError as error:
            self.refused.append(Refusal(partition_id=partition_id, code=error.code, reason=str(error)))
            self.not_taken[self._state.clients[partition_id].node_id] = str(error)

    def _average(self, client: ClientRecord, reply: Reply, asked: Asked) -> None:
        if isinstance(reply, Refusal):
            self.refused.append(replace(reply, partition_id=client.partition_id))
            return
        if not isinstance(reply, Update):
            raise MessageError("it answered a training request with something else")
        check_update(reply, like=self._state.arrays, num_examples=client.num_examples)
        ledger, update = client.ledger.extend(reply.ledger_lines), digest(reply.arrays)
        asked.check(_charge_of(ledger, self._state, update))
        self.clients[client.partition_id] = replace(client, ledger=ledger)
        self.mean.add(reply.arrays, self._strategy.weight(client.num_examples))
        self.updates[client.partition_id] = update
        if self._drift is not None:
            reach = self._strategy.reach(asked.proposal, client.num_examples)
            after = self._drift.after(client.partition_id, reply.arrays, reach)
            self._variates[client.partition_id] = after


def _charge_of(ledger: LedgerView, state: RunState, update: str) -> Reserve:
    """Return the charge of an update, which must be what the ledger records last as released."""
    last = ledger.last_deed.body
    expected = (state.run, state.round + 1, update)
    if not isinstance(last, Release) or (last.run, last.round, last.update) != expected:
        raise MessageError("its ledger does not end with the release of this very update")
    charge = ledger.entries[last.reserve].body
    if not isinstance(charge, Reserve):
        raise MessageError("its release names no charge")
    return charge
