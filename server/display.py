"""What a person sees while a run goes on: bars on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Iterable

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

from common.words import counted

_PLAIN_LINES = 20


class Screen(Console):
    """A console that falls silent when nobody reads it any more (`| head`), so that the run goes on."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on, instead of ending the process as rich would."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class RunDisplay:
    """Shows rounds, clients, accuracy and what was spent.

    Args:
        console: where to draw.
        rounds: planned rounds.
    """

    def __init__(self, console: Console, *, rounds: int) -> None:
        self._console = console
        self._rounds = rounds
        self._sayings: list[threading.Thread] = []
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

    def start(self) -> None:
        """Draw the bars."""
        self._bars.start()

    def stop(self) -> None:
        """Leave the bars as they are."""
        for saying in self._sayings:
            saying.join()
        self._bars.stop()

    def say_stopping(self) -> None:
        """Say that the run stops, and how to stop it at once; may be called by a signal's handler.

        A handler may have interrupted a line that is being written, which it must not write into. So a thread
        says it, and waits until that line is through.
        """
        text = "Stopping after this round; the run can be resumed. Ctrl-C again stops at once."
        saying = threading.Thread(target=self._bars.console.print, args=(text,))
        self._sayings.append(saying)
        saying.start()

    def joined(self, *, clients: int, examples: int, done: int, refused: Iterable[str]) -> None:
        """Say who takes part, and move the bar to the rounds that are done."""
        self._console.print(f"{counted(clients, 'client')} joined with {counted(examples, 'example')}.")
        for reason in refused:
            self.warn(reason)
        self._bars.update(self._round_bar, completed=done)

    def round_started(self, cohort_size: int) -> None:
        """Start the clients' bar anew."""
        self._bars.reset(self._client_bar, total=cohort_size, description="clients", figures="")

    def client_answered(self) -> None:
        """Move the clients' bar."""
        self._bars.advance(self._client_bar)

    def round_finished(
        self, number: int, *, accuracy: float, spent: str, dropped: Iterable[str], seconds: float
    ) -> None:
        """Show the round's figures, and a line for each client that dropped out of it."""
        figures = f"accuracy {accuracy:6.2%}  {spent}"
        self._bars.update(self._round_bar, completed=number, figures=figures)
        for line in dropped:
            self.warn(line)
        step = max(1, math.ceil(self._rounds / _PLAIN_LINES))
        if not self._console.is_terminal and (number % step == 0 or number == self._rounds):
            self._console.print(f"round {number}/{self._rounds}  {figures}  {seconds:.1f} s")

    def ended(self, reason: str) -> None:
        """Say why the run is over."""
        self._bars.stop()
        self._console.print(f"Training is over: {reason}.", soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print what others say as it is, never as markup."""
        self._console.print(Text(text, style="yellow"), soft_wrap=True)
