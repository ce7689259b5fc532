"""Private selection: a secret number of trials, of which the best alone is released.

Each trial draws its settings uniformly at random; how many trials there are is drawn first, by a
cryptographic source. Nothing of a trial is shown while it runs. In the end the best run's folder is kept, and
the others, their logs and what was drawn are deleted. The best is the greatest by accuracy, equal ones by the
hash of their model; a trial that fails ranks above all, so that then its failure is released and no model.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from common.config import RunConfig, Settings
from common.errors import ConfigError, RoundFailed
from common.ledger.chain import read_ledger
from common.privacy.mechanisms import merge
from common.privacy.selection import Repeats, epsilon_of_selection
from common.run_folder import RunFolder, write_atomically
from simulations.sweep.charge import Composed, Spent
from simulations.sweep.display import SweepDisplay
from simulations.sweep.folder import SweepFolder
from simulations.sweep.outcome import Outcome, Row
from simulations.sweep.plan import SweepPlan
from simulations.sweep.running import job_of
from simulations.sweep.workers import Job, Workers


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One drawn run: a name that says nothing of its place, and the number of its settings, from 1."""

    name: str
    candidate: int


def draw(plan: SweepPlan, repeats: Repeats, source: random.Random) -> tuple[Trial, ...]:
    """Draw how many trials there are, and the settings of each."""
    number, candidates = repeats.draw(source), range(1, len(plan.candidates) + 1)
    return tuple(Trial(name=secrets.token_hex(8), candidate=source.choice(candidates)) for _ in range(number))


def select(plan: SweepPlan, folder: SweepFolder, display: SweepDisplay, parallel: int) -> Outcome | None:
    """Run all trials that are not done, keep the best and delete the rest.

    Returns:
        The best alone, without any row where no trial was drawn; None where the search was stopped.

    Raises:
        ConfigError: when the search is over already.
        RoundFailed: when a trial failed or trials were charged differently: nothing is released.

    Privacy: `epsilon_of_selection` of one trial, against who sees what is left of the folder. Whoever watches
        this machine, as the server of a real federation would, sees every trial: against them all compose.
    """
    refuse_if_over(folder)
    repeats = plan.repeats or Repeats(distribution="poisson", mean=1.0)
    trials = _drawn(plan, folder, repeats)
    jobs = [job_of(plan, folder, t.name, plan.candidates[t.candidate - 1], parallel) for t in trials]
    Workers(folder, parallel=parallel, watcher=display).work_off(jobs)
    _require_success(jobs, folder)
    if not all(job.done(folder) for job in jobs):
        return None
    if not trials:
        return Outcome(plan=plan, rows=(), composed=None)
    chosen = max(trials, key=lambda trial: _rank(trial, folder))
    charge = _charge(jobs, folder, repeats)
    return Outcome(plan=plan, rows=(_row(plan, folder, chosen),), composed=charge)


def release(folder: SweepFolder, outcome: Outcome) -> None:
    """Keep the best run's folder, and delete every trace of the others."""
    best = outcome.rows[0].run if outcome.rows else ""
    write_atomically(folder.draws, json.dumps(best).encode())
    _finish_release(folder, best)


def refuse_if_over(folder: SweepFolder) -> None:
    """Refuse to search twice, after finishing a release that was cut short.

    Raises:
        ConfigError: when the folder's search is over: another one has to be charged as another.
    """
    record = json.loads(folder.draws.read_text(encoding="utf-8")) if folder.draws.exists() else None
    if isinstance(record, str):
        _finish_release(folder, record)
    if isinstance(record, str) or (record is None and folder.table.exists()):
        raise ConfigError(
            f"{folder.root}: this search is over, see {folder.page}; another is charged anew: name "
            "another folder with --out"
        )


def _finish_release(folder: SweepFolder, best: str) -> None:
    if best and folder.run(best).root.exists():
        folder.run(best).root.replace(folder.best)
    for place in (folder.runs, folder.logs):
        shutil.rmtree(place, ignore_errors=True)
    folder.draws.unlink(missing_ok=True)


def _drawn(plan: SweepPlan, folder: SweepFolder, repeats: Repeats) -> tuple[Trial, ...]:
    """Return what was drawn when the search began: drawing again would prefer a number."""
    if folder.draws.exists():
        return _kept(folder)
    trials = draw(plan, repeats, random.SystemRandom())
    record = [[trial.name, trial.candidate] for trial in trials]
    before = os.umask(0o077)
    try:
        write_atomically(folder.draws, json.dumps(record).encode())
    finally:
        os.umask(before)
    return trials


def _kept(folder: SweepFolder) -> tuple[Trial, ...]:
    pairs = json.loads(folder.draws.read_text(encoding="utf-8"))
    return tuple(Trial(name=name, candidate=candidate) for name, candidate in pairs)


def _require_success(jobs: Sequence[Job], folder: SweepFolder) -> None:
    for job in jobs:
        result = folder.result(job.name)
        if result and result.failed:
            raise RoundFailed(
                f"a trial failed, so nothing is released: {result.failed}; --resume {folder.root} goes on"
            )


def _rank(trial: Trial, folder: SweepFolder) -> tuple[float, str]:
    result = folder.result(trial.name)
    accuracy = result.accuracy if result and result.accuracy is not None else 0.0
    return accuracy, hashlib.sha256(folder.run(trial.name).model.read_bytes()).hexdigest()


def _row(plan: SweepPlan, folder: SweepFolder, trial: Trial) -> Row:
    result = folder.result(trial.name)
    settings: Settings = plan.candidates[trial.candidate - 1]
    results = (result,) if result else ()
    return Row(candidate=trial.candidate, settings=settings, results=results, failures=(), run=trial.name)


def _charge(jobs: Sequence[Job], folder: SweepFolder, repeats: Repeats) -> Composed:
    """Return what selection costs the client that it costs most, each trial having cost it the same."""
    clients = [_spent(job.config, folder.run(job.name)) for job in jobs]
    if any(spent != clients[0] for spent in clients):
        raise RoundFailed(
            "trials were charged differently, so the cost of selecting one is not known: nothing is released"
        )
    epsilons = [epsilon_of_selection(history, delta, repeats) for history, delta in dict.fromkeys(clients[0])]
    return Composed(epsilon=max(epsilons), delta=max(delta for _, delta in clients[0]), runs=1)


def _spent(config: RunConfig, folder: RunFolder) -> tuple[Spent, ...]:
    ledgers = [read_ledger(folder.ledger(client)) for client in range(config.federation.num_clients)]
    return tuple((merge(ledger.mechanisms()), ledger.genesis.delta) for ledger in ledgers)
