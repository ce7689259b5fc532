"""Runs that were under way when their SuperLink ended."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from common.flower_internals.control import RunInfo

_UNDER_WAY = ("starting", "running")


class Runs(Protocol):
    """What is needed of the Control API."""

    def runs(self) -> list[RunInfo]:
        """Return the latest runs."""

    def stop_run(self, run_id: int) -> None:
        """Stop a run at once."""


def end_orphans(control: Runs, began: float) -> list[int]:
    """End the runs whose process went with an earlier SuperLink, and return their ids.

    Each is a descendant of its SuperLink and ends with it, however that ends. SuperLink itself would call
    such a run running until its heartbeats have been missing for a minute, and nobody could resume it. One
    that was still waiting to be started is started by the new SuperLink.

    Args:
        control: of the SuperLink that runs now.
        began: when that one was started, in seconds since 1970; runs of later are its own.
    """
    left = [run for run in control.runs() if run.status in _UNDER_WAY and _submitted(run) < began]
    for run in left:
        control.stop_run(run.run_id)
    return [run.run_id for run in left]


def _submitted(run: RunInfo) -> float:
    return datetime.fromisoformat(run.pending_at).timestamp()
