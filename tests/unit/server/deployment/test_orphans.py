"""Runs that were under way when their SuperLink ended are ended by the next one, and no others."""

from __future__ import annotations

from datetime import UTC, datetime

from common.flower_internals.control import RunInfo
from server.deployment.orphans import end_orphans

BEGAN = 1_000_000.0


class Control:
    """A SuperLink with some runs."""

    def __init__(self, *runs: RunInfo) -> None:
        self._runs = list(runs)
        self.stopped: list[int] = []

    def runs(self) -> list[RunInfo]:
        return self._runs

    def stop_run(self, run_id: int) -> None:
        self.stopped.append(run_id)


def run(run_id: int, status: str, *, age: float = 1.0) -> RunInfo:
    submitted = datetime.fromtimestamp(BEGAN - age, UTC).isoformat()
    return RunInfo(run_id=run_id, status=status, details="", pending_at=submitted)


def test_runs_under_way_of_an_earlier_superlink_are_ended():
    control = Control(run(1, "running"), run(2, "starting"))
    assert end_orphans(control, BEGAN) == [1, 2]
    assert control.stopped == [1, 2]


def test_runs_that_wait_are_over_or_are_new_are_left_alone():
    control = Control(run(1, "pending"), run(2, "finished:completed"), run(3, "running", age=-1.0))
    assert end_orphans(control, BEGAN) == []
    assert control.stopped == []
