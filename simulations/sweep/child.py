"""One run of a sweep, in a process of its own: `python -m simulations.sweep.child SWEEP NAME ROUNDS`.

Settings come on standard input as TOML. The run goes on from where it is in its folder until so many rounds
are done, and its result is written beside that folder.
"""

from __future__ import annotations

import signal
import sys
import time
import tomllib
import traceback
from dataclasses import replace
from pathlib import Path

from common.audit.records import read_run
from common.config import RunConfig, resolve
from common.config.layers import flatten
from common.mistakes import line_of
from common.run_folder import exclusively
from server.lifeline import end_with_parent
from server.observer import RunObserver
from server.state import RoundOutcome, RunState
from simulations.harness import Simulation, resume, simulate
from simulations.sweep.folder import Result, SweepFolder

FAILED, INTERRUPTED = 2, 130
_PATIENCE_SECONDS = 10.0


class StopAfter(RunObserver):
    """Stops a run when so many rounds are done, or when it is asked to.

    Args:
        rounds: counted from the run's beginning.
    """

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self._rounds = rounds
        self._done = 0
        self.interrupted = False

    def joined(self, state: RunState, refused: list[str]) -> None:
        """See how many rounds are done already."""
        super().joined(state, refused)
        self._done = state.round

    def round_finished(self, state: RunState, outcome: RoundOutcome) -> None:
        """Count the round."""
        super().round_finished(state, outcome)
        self._done = state.round

    def interrupt(self, *_: object) -> None:
        """Stop after the current round; a signal's handler."""
        self.interrupted = True

    @property
    def stop_requested(self) -> bool:
        """Whether enough is done."""
        return self.interrupted or self._done >= self._rounds


def run(folder: SweepFolder, name: str, config: RunConfig, rounds: int) -> int:
    """Run or go on with one simulation, write its result, and return the process's exit status."""
    observer, started = StopAfter(rounds), time.monotonic()
    signal.signal(signal.SIGINT, observer.interrupt)
    before = folder.result(name) or Result()
    try:
        simulation = _train(folder, name, config, observer)
    except Exception as error:  # noqa: BLE001 - whatever it is, this run failed and the others go on
        traceback.print_exc()
        reason = line_of(error) or f"a defect ({type(error).__name__}): see {folder.log(name)}"
        folder.keep_result(name, Result(failed=" ".join(reason.split()), seconds=before.seconds))
        return FAILED
    result = _result(simulation, config, before.seconds + time.monotonic() - started)
    if observer.interrupted and result.rounds < rounds:
        return INTERRUPTED
    folder.keep_result(name, replace(result, over=result.over or not observer.stop_requested))
    return 0


def _train(folder: SweepFolder, name: str, config: RunConfig, observer: RunObserver) -> Simulation:
    run_folder = folder.run(name)
    if not run_folder.config.exists():
        return simulate(config, observer=observer)
    with exclusively(run_folder, patience_seconds=_PATIENCE_SECONDS):
        pass  # the process of a sweep that was killed is given time to notice
    workers = {"runtime.workers": config.runtime.workers}
    return resume(run_folder.root, observer=observer, settings=workers)


def _result(simulation: Simulation, config: RunConfig, seconds: float) -> Result:
    report, partitions = simulation.report, read_run(simulation.folder.root).partitions
    return Result(
        rounds=simulation.state.round,
        accuracy=report.accuracy,
        epsilon=report.epsilon if report.private else None,
        delta=report.delta,
        verified=report.verified,
        over=simulation.state.round >= config.federation.num_server_rounds,
        images=partitions.dataset if partitions else "",
        seconds=round(seconds, 1),
    )


def main(arguments: list[str]) -> int:
    """Run what the sweep that started this process asks for."""
    end_with_parent()
    root, name, rounds = arguments
    config = resolve(flatten(tomllib.loads(sys.stdin.read())))
    return run(SweepFolder(Path(root)), name, config, int(rounds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
