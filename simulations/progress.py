"""What a person sees while a run goes on: bars on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import math
import os
import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from common.audit.wording import counted
from common.privacy.accounting import epsilon_upper_bound
from server.observer import RunObserver
from server.state import RoundOutcome, RunState

_PLAIN_LINES = 20


class Screen(Console):
    """A console that falls silent when nobody reads it any more (`| head`), so that the run goes on."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on, instead of ending the process as rich would."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class ProgressDisplay(RunObserver):
    """Shows rounds, clients, accuracy and the largest epsilon so far.

    The epsilon is computed here, from the ledger entries that clients sent; nobody reports one.

    Args:
        console: where to draw.
        rounds: planned rounds.
        stamp: words that a run without a guarantee carries; empty for a private run.
    """

    def __init__(self, console: Console, *, rounds: int, stamp: str) -> None:
        self._console = console
        self._rounds = rounds
        self._stamp = stamp
        self._stop = False
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._round_bar = self._bars.add_task("rounds ", total=rounds, figures="")
        self._client_bar = self._bars.add_task("clients", total=None, figures="")

    def __enter__(self) -> ProgressDisplay:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def request_stop(self) -> None:
        """Let the current round finish, then stop."""
        self._stop = True
        self._bars.console.print(
            "Stopping after this round; the run can be resumed. Ctrl-C again stops at once."
        )

    @property
    def stop_requested(self) -> bool:
        """Whether `request_stop` was called."""
        return self._stop

    def joined(self, state: RunState, refused: list[str]) -> None:
        """Say who takes part."""
        examples = sum(client.num_examples for client in state.clients.values())
        joined = counted(len(state.clients), "client")
        self._console.print(f"{joined} joined with {counted(examples, 'example')}.")
        for reason in refused:
            self._warn(reason)
        self._bars.update(self._round_bar, completed=state.round)

    def round_started(self, number: int, cohort_size: int) -> None:
        """Start the clients' bar anew."""
        self._bars.reset(self._client_bar, total=cohort_size, description="clients", figures="")

    def client_answered(self) -> None:
        """Move the clients' bar."""
        self._bars.advance(self._client_bar)

    def round_finished(self, state: RunState, outcome: RoundOutcome) -> None:
        """Show the round's figures, and who dropped out of it and why."""
        figures = f"accuracy {outcome.metrics['accuracy']:6.2%}  {self._spent(state)}"
        self._bars.update(self._round_bar, completed=state.round, figures=figures)
        for refusal in outcome.refused:
            self._warn(f"client {refusal.partition_id} left out: {refusal.reason}")
        step = max(1, math.ceil(self._rounds / _PLAIN_LINES))
        if not self._console.is_terminal and (state.round % step == 0 or state.round == self._rounds):
            self._console.print(f"round {state.round}/{self._rounds}  {figures}  {outcome.seconds:.1f} s")

    def ended(self, state: RunState) -> None:
        """Say why the run is over."""
        self._bars.stop()
        self._console.print(f"Training is over: {state.ended}.")

    def _warn(self, text: str) -> None:
        """Print what others say as it is, never as markup."""
        self._console.print(Text(text, style="yellow"), soft_wrap=True)

    def _spent(self, state: RunState) -> str:
        if self._stamp:
            return self._stamp
        spent = [
            epsilon_upper_bound(client.ledger.mechanisms(), client.ledger.genesis.delta)
            for client in state.clients.values()
        ]
        return f"epsilon {max(spent):.3f}"
