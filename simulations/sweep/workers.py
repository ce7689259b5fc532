"""Processes side by side: one a run, so that one that fails ends nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.config import RunConfig, to_toml
from simulations.sweep.folder import Result, SweepFolder

_LOOK_SECONDS = 0.2
_CHILD = "simulations.sweep.child"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is to reach so many rounds.

    Args:
        label: its settings as one text.
        rounds: counted from the run's beginning.
    """

    name: str
    label: str
    config: RunConfig
    rounds: int

    def done(self, folder: SweepFolder) -> bool:
        """Whether the run has come this far, or ended by itself."""
        result = folder.result(self.name)
        return bool(result and not result.failed and (result.over or result.rounds >= self.rounds))


class Watcher(Protocol):
    """Told how jobs go on, and asked whether to stop."""

    @property
    def stop_requested(self) -> bool:
        """Whether nothing new is to begin, and what goes on is to stop after its round."""

    def started(self, job: Job) -> None:
        """Hear that a run begins or goes on."""

    def looked(self, job: Job, accuracies: Sequence[float]) -> None:
        """Hear how far a run is that goes on."""

    def finished(self, job: Job, result: Result) -> None:
        """Hear what a run has come to."""


@dataclass(kw_only=True)
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    told_to_stop: bool = False


class Workers:
    """Works off jobs, so many at a time.

    Args:
        folder: of the sweep.
        parallel: processes at a time, at least 1.
        watcher: told what happens.
    """

    def __init__(self, folder: SweepFolder, *, parallel: int, watcher: Watcher) -> None:
        self._folder = folder
        self._parallel = parallel
        self._watcher = watcher
        self._running: list[_Running] = []

    def work_off(self, jobs: Sequence[Job]) -> None:
        """Run what is not done; whatever interrupts this ends the processes as well."""
        waiting = [job for job in jobs if not self._known(job)]
        try:
            while self._running or (waiting and not self._watcher.stop_requested):
                while waiting and len(self._running) < self._parallel and not self._watcher.stop_requested:
                    self._start(waiting.pop(0))
                time.sleep(_LOOK_SECONDS)
                self._look()
        finally:
            for running in self._running:
                running.process.kill()
                running.process.wait()
            self._running.clear()

    def _known(self, job: Job) -> bool:
        result = self._folder.result(job.name)
        if result is None or not job.done(self._folder):
            return False
        self._watcher.finished(job, result)
        return True

    def _start(self, job: Job) -> None:
        self._folder.logs.mkdir(parents=True, exist_ok=True)
        self._folder.runs.mkdir(exist_ok=True)
        self._folder.forget_failure(job.name)
        command = [sys.executable, "-P", "-m", _CHILD, str(self._folder.root), job.name, str(job.rounds)]
        path = os.pathsep.join(str(Path(place).absolute()) for place in sys.path if place)
        with self._folder.log(job.name).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the sweep, which tells its runs
            )
        if process.stdin:
            with suppress(BrokenPipeError), process.stdin:  # its end tells why it took no settings
                process.stdin.write(to_toml(job.config).encode())
        self._running.append(_Running(job=job, process=process))
        self._watcher.started(job)

    def _look(self) -> None:
        for running in list(self._running):
            status = running.process.poll()
            if status is not None:
                self._running.remove(running)
                self._finish(running.job, status)
            elif self._watcher.stop_requested and not running.told_to_stop:
                running.process.send_signal(signal.SIGINT)
                running.told_to_stop = True
            else:
                self._watcher.looked(running.job, self._folder.accuracies(running.job.name))

    def _finish(self, job: Job, status: int) -> None:
        """Tell what a run came to; a stopped one has nothing to tell."""
        result = self._folder.result(job.name)
        if status and result is None and not self._watcher.stop_requested:
            result = Result(failed=_reason(status, self._folder.log(job.name)))
            self._folder.keep_result(job.name, result)
        if result is not None and (result.failed or job.done(self._folder)):
            self._watcher.finished(job, result)


def _reason(status: int, log: Path) -> str:
    if status == -signal.SIGKILL:
        return "its process was killed, as a machine without free memory does: try a smaller --parallel"
    return f"its process ended with status {status}: see {log}"
