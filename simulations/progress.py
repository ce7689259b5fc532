"""What a person sees while a simulation goes on."""

from __future__ import annotations

from rich.console import Console

from server.display import RunDisplay, Screen
from server.observer import RunObserver, largest_epsilon
from server.state import RoundOutcome, RunState

__all__ = ["ProgressDisplay", "Screen"]


class ProgressDisplay(RunObserver):
    """Shows rounds, clients, accuracy and the largest epsilon so far.

    The epsilon is computed here, from the ledger entries that clients sent; nobody reports one.

    Args:
        console: where to draw.
        rounds: planned rounds.
        stamp: words that a run without a guarantee carries; empty for a private run.
    """

    def __init__(self, console: Console, *, rounds: int, stamp: str) -> None:
        self._display = RunDisplay(console, rounds=rounds)
        self._stamp = stamp
        self._stop = False

    def __enter__(self) -> ProgressDisplay:
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    def request_stop(self) -> None:
        """Let the current round finish, then stop."""
        self._stop = True
        self._display.say_stopping()

    @property
    def stop_requested(self) -> bool:
        """Whether `request_stop` was called."""
        return self._stop

    def joined(self, state: RunState, refused: list[str]) -> None:
        """Say who takes part."""
        examples = sum(client.num_examples for client in state.clients.values())
        self._display.joined(clients=len(state.clients), examples=examples, done=state.round, refused=refused)

    def round_started(self, number: int, cohort_size: int) -> None:
        """Start the clients' bar anew."""
        self._display.round_started(cohort_size)

    def client_answered(self) -> None:
        """Move the clients' bar."""
        self._display.client_answered()

    def round_finished(self, state: RunState, outcome: RoundOutcome) -> None:
        """Show the round's figures, and who dropped out of it and why."""
        self._display.round_finished(
            state.round,
            accuracy=outcome.metrics["accuracy"],
            spent=self._stamp or f"epsilon {largest_epsilon(state):.3f}",
            refused=[(f"client {refusal.partition_id}", refusal.reason) for refusal in outcome.refused],
            seconds=outcome.seconds,
        )

    def ended(self, state: RunState) -> None:
        """Say why the run is over."""
        self._display.ended(state.ended)
