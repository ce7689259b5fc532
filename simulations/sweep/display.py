"""What a person sees while runs go on side by side: one table on a terminal, a line a run elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.audit.wording import epsilon_text, percent_text
from simulations.sweep.folder import Result
from simulations.sweep.workers import Job

_MOST_ROWS = 16


class SweepDisplay:
    """Shows how far each run is.

    Args:
        console: where to draw.
        names: of all runs that may come, with their settings as text, in order.
    """

    def __init__(self, console: Console, names: dict[str, str]) -> None:
        self._console = console
        self._rows = {name: [text, "waiting", "", "", ""] for name, text in names.items()}
        self._results: dict[str, Result] = {}
        self._stop = False
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> SweepDisplay:
        if self._console.is_terminal:
            self._live.start()
            self._live.update(self.table())
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def request_stop(self) -> None:
        """Let runs finish their round, then stop."""
        self._stop = True

    @property
    def stop_requested(self) -> bool:
        """Whether `request_stop` was called."""
        return self._stop

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(Text(text), soft_wrap=True)

    def started(self, job: Job) -> None:
        """Show that a run begins."""
        self._results.pop(job.name, None)
        self._show(job.name, "begins", "", "", "")

    def looked(self, job: Job, accuracies: Sequence[float]) -> None:
        """Show how far a run is."""
        if accuracies:
            reached = f"round {len(accuracies)}/{job.rounds}"
            self._show(job.name, reached, percent_text(accuracies[-1], 2), "", "")

    def finished(self, job: Job, result: Result) -> None:
        """Show what a run has come to."""
        if self._results.get(job.name) == result:
            return
        self._results[job.name] = result
        if result.failed:
            self._show(job.name, "failed", "", "", "")
            self.say(f"{job.label} failed: {result.failed}")
            return
        accuracy = percent_text(result.accuracy, 2)
        epsilon = "none" if result.epsilon is None else epsilon_text(result.epsilon, 4)
        self._show(job.name, f"{result.rounds} rounds", accuracy, epsilon, f"{result.seconds:.0f} s")
        if not self._console.is_terminal:
            count = f"{len(self._results)}/{len(self._rows)}"
            figures = f"accuracy {accuracy}  epsilon {epsilon}  {result.seconds:.1f} s"
            self.say(f"{count}  {job.label}  {result.rounds} rounds  {figures}")

    def table(self) -> Table:
        """Return the table of what goes on and what ended last, as many rows as fit."""
        failed = sum(bool(result.failed) for result in self._results.values())
        title = f"{len(self._results) - failed} of {len(self._rows)} runs are done" + (
            f", {failed} failed" if failed else ""
        )
        table = Table("settings", "state", "accuracy", "epsilon", "time", title=title, title_justify="left")
        for row in self._shown():
            table.add_row(*(Text(cell) for cell in row))
        return table

    def _shown(self) -> list[list[str]]:
        names = list(self._rows)
        going = [name for name in names if name not in self._results and self._rows[name][1] != "waiting"]
        waiting = [name for name in names if self._rows[name][1] == "waiting"]
        latest = list(self._results)[::-1]
        kept = set([*going, *latest, *waiting][:_MOST_ROWS])
        return [self._rows[name] for name in names if name in kept]

    def _show(self, name: str, *cells: str) -> None:
        self._rows[name][1:] = cells
        if self._console.is_terminal:
            self._live.update(self.table())


class SilentDisplay(SweepDisplay):
    """Shows nothing of trials: only the best of them is released, and their number is secret."""

    def started(self, job: Job) -> None:
        """Say nothing."""

    def looked(self, job: Job, accuracies: Sequence[float]) -> None:
        """Say nothing."""

    def finished(self, job: Job, result: Result) -> None:
        """Say nothing."""

    def __enter__(self) -> SilentDisplay:
        return self
