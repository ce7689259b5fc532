"""Private selection: what is drawn, what is released, and that nothing else is left."""

from __future__ import annotations

import json
import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import ConfigError, RoundFailed
from common.privacy.selection import Repeats, epsilon_of_selection
from simulations.sweep import selection
from simulations.sweep.folder import Result, SweepFolder, begin
from simulations.sweep.outcome import Outcome
from simulations.sweep.selection import Trial, draw, release, select
from tests.run_folders import RunPlan, charge_and_release, open_ledger
from tests.unit.simulations.sweep.made_up import made_up_plan, made_up_run

REPEATS = Repeats(distribution="poisson", mean=4.0)
PLAN = made_up_plan("training.learning-rate=1,2,4", strategy="random", charge="selection", repeats=REPEATS)
TRIALS = (Trial(name="aa", candidate=1), Trial(name="bb", candidate=3), Trial(name="cc", candidate=3))


class Watcher:
    stop_requested = False

    def __getattr__(self, name: str):
        return lambda *_: None


def search(folder: SweepFolder) -> Outcome | None:
    return select(PLAN, folder, Watcher(), 1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    """Three trials that are through, the second of which is best."""
    monkeypatch.setattr(selection, "draw", lambda *_: TRIALS)
    folder = begin(tmp_path / "sweep", PLAN)
    for trial, accuracy in zip(TRIALS, (0.5, 0.8, 0.7), strict=True):
        made_up_run(folder, trial.name, accuracy=accuracy)
    return folder


def test_trials_are_drawn_uniformly_and_their_names_say_nothing() -> None:
    trials = draw(PLAN, Repeats(distribution="poisson", mean=900.0), random.Random(3))
    counts = [[trial.candidate for trial in trials].count(number) for number in (1, 2, 3)]
    assert sum(counts) == len(trials)
    assert all(count == pytest.approx(len(trials) / 3, rel=0.2) for count in counts)
    assert len({trial.name for trial in trials}) == len(trials)


def test_the_best_is_charged_as_one_of_a_random_number(folder: SweepFolder) -> None:
    outcome = search(folder)
    assert [(row.candidate, row.mean) for row in outcome.rows] == [(3, 0.8)]
    ledger = open_ledger(folder.run("bb"), 0, RunPlan())
    expected = epsilon_of_selection(ledger.view.mechanisms(), ledger.view.genesis.delta, REPEATS)
    assert outcome.composed.epsilon == expected
    assert outcome.composed.epsilon > outcome.rows[0].epsilon


def test_only_the_best_is_left(folder: SweepFolder) -> None:
    (folder.logs).mkdir()
    (folder.logs / "aa.txt").write_text("said")
    model = folder.run("bb").model.read_bytes()
    release(folder, search(folder))
    assert {path.name for path in folder.root.iterdir()} == {"plan.json", "best"}
    assert (folder.best / "model.safetensors").read_bytes() == model


def test_what_was_drawn_is_kept_secret_and_not_drawn_again(folder: SweepFolder, monkeypatch) -> None:
    search(folder)
    assert stat.S_IMODE(folder.draws.stat().st_mode) == 0o600
    monkeypatch.setattr(selection, "draw", lambda *_: pytest.fail("drawn again"))
    assert search(folder).rows[0].run == "bb"


def test_a_search_that_is_over_is_not_begun_again(folder: SweepFolder) -> None:
    outcome = search(folder)
    folder.table.write_text("{}")
    release(folder, outcome)
    with pytest.raises(ConfigError, match="this search is over"):
        search(folder)


def test_a_release_that_was_cut_short_is_finished(folder: SweepFolder) -> None:
    search(folder)
    folder.draws.write_text(json.dumps("bb"))
    with pytest.raises(ConfigError, match="this search is over"):
        search(folder)
    assert folder.best.exists()
    assert not folder.runs.exists()
    assert not folder.draws.exists()


def test_a_trial_that_failed_lets_nothing_be_released(folder: SweepFolder, monkeypatch) -> None:
    monkeypatch.setattr(selection.Workers, "work_off", lambda *_: None)
    folder.keep_result("aa", Result(failed="memory is used up"))
    with pytest.raises(RoundFailed, match="nothing is released: memory is used up"):
        search(folder)
    assert folder.run("bb").root.exists()


def test_trials_that_were_charged_differently_have_no_cost(folder: SweepFolder) -> None:
    plan = replace(RunPlan(), noise_multiplier=1.0)
    charge_and_release(folder.run("cc"), 0, 4, plan)
    with pytest.raises(RoundFailed, match="charged differently"):
        search(folder)


def test_no_trial_releases_nothing(folder: SweepFolder, monkeypatch) -> None:
    monkeypatch.setattr(selection, "draw", lambda *_: ())
    outcome = search(folder)
    assert (outcome.rows, outcome.composed) == ((), None)
    release(folder, outcome)
    assert not folder.runs.exists()
    assert not folder.best.exists()


def test_of_equal_accuracy_the_model_decides_and_not_the_order(folder: SweepFolder) -> None:
    for name in ("aa", "bb"):
        made_up = folder.result(name)
        folder.keep_result(name, replace(made_up, accuracy=0.9))
    first = search(folder).rows[0].run
    folder.draws.write_text(json.dumps([[t.name, t.candidate] for t in reversed(TRIALS)]))
    folder.run("aa").model.write_text("another model")
    second = search(folder).rows[0].run
    folder.draws.write_text(json.dumps([[t.name, t.candidate] for t in TRIALS]))
    assert search(folder).rows[0].run == second
    assert first in ("aa", "bb")
