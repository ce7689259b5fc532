"""How a run is watched and stopped from outside, without the run knowing by whom."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar

from common.privacy.accounting import epsilon_upper_bound
from common.protocol import Refusal
from server.state import RoundOutcome, RunState, TurnedAway

_log = logging.getLogger("fedledger.server")


def largest_epsilon(state: RunState) -> float:
    """Return an upper bound of what any client has spent, from the ledger entries that clients sent."""
    return max(
        epsilon_upper_bound(client.ledger.mechanisms(), client.ledger.genesis.delta)
        for client in state.clients.values()
    )


class RunObserver:
    """Told what happens in a run; this one writes a log line a round and never stops the run.

    Args:
        log: where the lines go.
    """

    def __init__(self, log: logging.Logger = _log) -> None:
        self._log = log

    def turned_away(self, nodes: Sequence[TurnedAway]) -> None:
        """Hear which nodes could not join, and why, before anything else."""

    def joined(self, state: RunState, refused: list[str]) -> None:
        """Hear who joined, before the first round, and why others did not."""
        self._log.info("%d clients joined; %d rounds are done", len(state.clients), state.round)
        for reason in refused:
            self._log.warning("%s", reason)

    def round_started(self, number: int, cohort_size: int) -> None:
        """Hear that a round asks `cohort_size` clients."""

    def client_answered(self) -> None:
        """Hear that one more client of the round has answered."""

    def round_finished(self, state: RunState, outcome: RoundOutcome) -> None:
        """Hear what a round gave, after it has been written."""
        accuracy = outcome.metrics["accuracy"]
        refused = len(outcome.refused)
        took_part = len(outcome.updates)
        self._log.info(
            "round %d: accuracy %.4f, %d took part, %d did not", outcome.round, accuracy, took_part, refused
        )

    def round_failed(self, number: int, refused: Sequence[Refusal]) -> None:
        """Hear that nobody took part in the first round, which ends the run."""

    def ended(self, state: RunState, *, can_go_on: bool) -> None:
        """Hear that the run is over; `state.ended` says why, and another may still continue it."""
        self._log.info("the run is over after round %d: %s", state.round, state.ended)

    @property
    def stop_requested(self) -> bool:
        """Whether the run should stop, resumable, after the current round."""
        return False


OBSERVER: ContextVar[RunObserver] = ContextVar("fedledger_observer")
"""The observer of the run in this context; whoever starts a ServerApp may set one."""
