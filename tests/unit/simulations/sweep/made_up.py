"""A sweep that is through without training anything: run folders as `write_run` makes them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.audit import audit
from simulations.sweep.axes import parse_axes
from simulations.sweep.folder import Result, SweepFolder, begin
from simulations.sweep.plan import SweepPlan
from tests.run_folders import RunPlan, write_run


def made_up_plan(*over: str, **how: Any) -> SweepPlan:
    """Return a plan whose runs are those of `RunPlan`."""
    base = {"federation.num-clients": 2, "federation.num-server-rounds": 3, "training.sample-rate": 0.2}
    return SweepPlan(base=base, axes=parse_axes(over), **how)


def made_up_run(folder: SweepFolder, name: str, *, accuracy: float = 0.7, **changes: Any) -> Result:
    """Write the folder of a run that is through, and its result."""
    run = write_run(folder.run(name).root, RunPlan())
    report = audit(run.root)
    result = Result(
        rounds=3,
        accuracy=accuracy,
        epsilon=report.epsilon,
        delta=report.delta,
        verified=True,
        over=True,
        images="made-up shapes",
        seconds=2.0,
    )
    result = Result(**(asdict(result) | changes))
    folder.keep_result(name, result)
    return result


def made_up_sweep(root: Path, plan: SweepPlan, accuracies: dict[str, float]) -> SweepFolder:
    """Write a whole sweep, with an accuracy for each run's name."""
    folder = begin(root, plan)
    for name, accuracy in accuracies.items():
        made_up_run(folder, name, accuracy=accuracy)
    return folder
