"""What a person sees while a simulation goes on."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.text import Text

from server.display import RunDisplay, Screen
from server.observer import RunObserver, largest_epsilon
from server.state import RoundOutcome, RunState

_IMAGES_A_LINE = 5000

__all__ = ["ProgressDisplay", "Screen"]


class FeatureProgress(logging.Handler):
    """Says that a frozen front's features are being computed, which takes a while, and how far that is.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(logging.DEBUG)
        self._console = console
        self._log = logging.getLogger("fedledger.features")
        self._before = self._log.level, self._log.propagate
        self._images = 0

    def begin(self) -> None:
        """Listen to what computes features, alone: a library may have given the root logger a handler."""
        self._before = self._log.level, self._log.propagate
        self._log.setLevel(logging.DEBUG)
        self._log.propagate = False
        self._log.addHandler(self)

    def end(self) -> None:
        """Leave its log as it was."""
        self._log.removeHandler(self)
        level, self._log.propagate = self._before
        self._log.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line at the beginning and one for so many images."""
        images = getattr(record, "images", None)
        if record.levelno >= logging.WARNING:
            self._console.print(Text(record.getMessage(), style="yellow"), soft_wrap=True)
        elif images is None and not self._images:
            self._console.print("Computing the features of all images, once.")
        elif images is not None:
            self._images += images
            if self._images // _IMAGES_A_LINE > (self._images - images) // _IMAGES_A_LINE:
                self._console.print(f"features of {self._images:,} images are there")


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
        self._features = FeatureProgress(console)
        self._stamp = stamp
        self._stop = False

    def __enter__(self) -> ProgressDisplay:
        self._display.start()
        self._features.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._features.end()
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
            dropped=[refusal.said_of(f"client {refusal.partition_id}") for refusal in outcome.refused],
            seconds=outcome.seconds,
        )

    def ended(self, state: RunState, *, can_go_on: bool) -> None:
        """Say why the run is over."""
        self._display.ended(state.ended)
