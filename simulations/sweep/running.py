"""A sweep at work: a grid in one go, a halving rung by rung."""

from __future__ import annotations

import os

from common.config import RunConfig, Settings, resolve
from simulations.sweep.charge import Composed, composed
from simulations.sweep.display import SweepDisplay
from simulations.sweep.folder import SweepFolder
from simulations.sweep.outcome import Outcome, collect
from simulations.sweep.plan import SweepPlan, SweepRun
from simulations.sweep.schedule import Rung, best, mean_scores
from simulations.sweep.workers import Job, Workers


def default_parallel(config: RunConfig) -> int:
    """Return how many runs this machine takes at a time: one a core, and one alone on an accelerator."""
    from common.device import resolve_device  # torch takes seconds; --help needs none

    on_cores = resolve_device(config.runtime.device).type == "cpu"
    return (os.cpu_count() or 1) if on_cores else 1


def job_of(plan: SweepPlan, folder: SweepFolder, name: str, settings: Settings, parallel: int) -> Job:
    """Return a run with its share of this machine's cores, to the end of its planned rounds."""
    config = plan.config(settings)
    workers = config.runtime.workers
    share = max(1, (os.cpu_count() or 1) // parallel) if workers == "auto" else workers
    where: Settings = {"runtime.out": str(folder.run(name).root), "runtime.workers": share}
    config = resolve(plan.base, settings, where)
    label = SweepRun(name=name, candidate=0, settings=settings).label
    return Job(name=name, label=label, config=config, rounds=config.federation.num_server_rounds)


def run_all(plan: SweepPlan, folder: SweepFolder, display: SweepDisplay, parallel: int) -> Outcome | None:
    """Run what is not done of a grid or a halving.

    Returns:
        What was found, None where the sweep was stopped before its end.
    """
    workers = Workers(folder, parallel=parallel, watcher=display)
    if plan.strategy == "halving":
        _halve(plan, folder, workers, parallel)
    else:
        workers.work_off([_job(plan, folder, run, parallel) for run in plan.runs])
    if display.stop_requested:
        return None
    return collect(plan, folder, _charged(plan, folder) if plan.charge == "sum" else None)


def _job(plan: SweepPlan, folder: SweepFolder, run: SweepRun, parallel: int, rung: Rung | None = None) -> Job:
    job = job_of(plan, folder, run.name, run.settings, parallel)
    if rung is None:
        return job
    return Job(name=job.name, label=job.label, config=job.config, rounds=rung.rounds)


def _halve(plan: SweepPlan, folder: SweepFolder, workers: Workers, parallel: int) -> None:
    """Work off rung after rung; settings of which a run failed go no further."""
    left = list(dict.fromkeys(run.candidate for run in plan.runs))
    for rung in plan.rungs:
        left = left[: rung.settings]
        runs = [run for run in plan.runs if run.candidate in left]
        jobs = [_job(plan, folder, run, parallel, rung) for run in runs]
        workers.work_off(jobs)
        if not all(_ended(job, folder) for job in jobs):
            return
        accuracies = {
            candidate: [_reached(folder, run, rung) for run in runs if run.candidate == candidate]
            for candidate in left
        }
        left = best(mean_scores(accuracies), len(left))


def _ended(job: Job, folder: SweepFolder) -> bool:
    result = folder.result(job.name)
    return job.done(folder) or bool(result and result.failed)


def _reached(folder: SweepFolder, run: SweepRun, rung: Rung) -> float | None:
    """Return the accuracy at the rung's last round, or at the run's own last one; None of a failed run."""
    result = folder.result(run.name)
    accuracies = folder.accuracies(run.name)[: rung.rounds]
    return accuracies[-1] if accuracies and result and not result.failed else None


def _charged(plan: SweepPlan, folder: SweepFolder) -> Composed:
    return composed((plan.config(run.settings), folder.run(run.name)) for run in plan.runs)
