"""What a sweep found: ranks, spreads, words and the page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from simulations.sweep.charge import Composed
from simulations.sweep.folder import Result
from simulations.sweep.html import chart_of, render
from simulations.sweep.outcome import Outcome, collect, to_json
from simulations.sweep.text import as_text, headline, warnings_before
from tests.unit.simulations.sweep.made_up import made_up_plan, made_up_sweep

RATES, SEEDS = "training.learning-rate=1,2,4", "runtime.seed=0,1"
ACCURACIES = {
    "001-seed-0": 0.5, "001-seed-1": 0.6,
    "002-seed-0": 0.8, "002-seed-1": 0.7,
    "003-seed-0": 0.9,
}  # fmt: skip


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    """Three rates with two seeds each; a run of the third rate failed."""
    plan = made_up_plan(RATES, SEEDS)
    folder = made_up_sweep(tmp_path / "sweep", plan, ACCURACIES)
    folder.keep_result("003-seed-1", Result(failed="memory is used up"))
    return collect(plan, folder, None)


def test_the_best_mean_comes_first_and_what_failed_last(outcome: Outcome) -> None:
    assert [row.label for row in outcome.rows] == ["learning-rate=2", "learning-rate=1", "learning-rate=4"]
    assert outcome.rows[0].mean == pytest.approx(0.75)
    assert outcome.rows[0].deviation == pytest.approx(math.sqrt(0.005))
    assert headline(outcome) == "Best of 3 settings: learning-rate=2, accuracy 75.00 ± 7.07 %"


def test_what_failed_is_listed_and_the_sweep_is_not_clean(outcome: Outcome) -> None:
    assert outcome.failures == (("learning-rate=4 seed=1", "memory is used up"),)
    assert not outcome.clean
    assert "learning-rate=4 seed=1 failed: memory is used up" in as_text(outcome)


def test_what_went_further_in_a_halving_comes_before_a_better_one(tmp_path: Path) -> None:
    plan = made_up_plan(RATES, strategy="halving")
    folder = made_up_sweep(tmp_path, plan, {"001": 0.9, "002": 0.6, "003": 0.7})
    folder.keep_result("001", Result(rounds=1, accuracy=0.9, verified=True))
    assert [row.candidate for row in collect(plan, folder, None).rows] == [3, 2, 1]


def test_without_a_charge_it_is_said_whose_claim_that_is(outcome: Outcome) -> None:
    said = as_text(outcome)
    assert "Choosing by this table is not charged. Each epsilon counts one run alone, though 5 runs" in said
    assert "Images: made-up shapes." in said
    assert "that they are public is your claim" in said
    assert "costs budget beyond the single run" in warnings_before(outcome.plan)[0]


def test_a_charge_is_named(outcome: Outcome) -> None:
    cost = Composed(epsilon=12.34561, delta=1e-5, runs=6)
    said = as_text(Outcome(plan=made_up_plan(RATES, charge="sum"), rows=outcome.rows, composed=cost))
    assert "Together the 6 runs cost epsilon 12.3457 at delta 1e-5" in said
    assert "not charged" not in said


def test_programs_read_everything(outcome: Outcome) -> None:
    record = json.loads(json.dumps(to_json(outcome), allow_nan=False))
    assert (record["schema"], record["best"], record["cost"]) == ("fedledger-sweep/1", 2, None)
    assert [row["accuracies"] for row in record["settings"]] == [[0.8, 0.7], [0.5, 0.6], [0.9]]
    assert record["settings"][0]["epsilon"] == pytest.approx(outcome.rows[0].results[0].epsilon)


def test_the_page_has_a_line_over_the_numbers_and_a_bar_over_seeds(outcome: Outcome) -> None:
    page = render(outcome)
    assert page.count('class="span series-0"') == 3
    assert "training.learning-rate" in page
    assert "<script" not in page
    assert "learning-rate=2: 75.00 ± 7.07 %, 3 rounds" in page
    assert "memory is used up" in page
    assert page == render(outcome)


def test_what_failed_is_not_on_the_scale(tmp_path: Path) -> None:
    plan = made_up_plan("training.learning-rate=1,2,1e-6")
    folder = made_up_sweep(tmp_path, plan, {"001": 0.5, "002": 0.6})
    folder.keep_result("003", Result(failed="diverged"))
    assert "1e-06" not in str(chart_of(collect(plan, folder, None)))


def test_values_far_apart_stand_on_a_logarithmic_scale(tmp_path: Path) -> None:
    plan = made_up_plan("training.learning-rate=1,10,100")
    chart = chart_of(collect(plan, made_up_sweep(tmp_path, plan, {"001": 0.5, "002": 0.6, "003": 0.7}), None))
    assert chart is not None
    places = [float(x) for x in re.findall(r'<circle class="dot[^>]*cx="([0-9.]+)"', str(chart))]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.1)


def test_settings_without_numbers_have_no_chart_but_a_table(tmp_path: Path) -> None:
    plan = made_up_plan("model.name=cnn,cnn-tanh")
    outcome = collect(plan, made_up_sweep(tmp_path, plan, {"001": 0.5, "002": 0.6}), None)
    assert chart_of(outcome) is None
    assert "name=cnn-tanh" in render(outcome)


def test_what_a_setting_is_called_is_escaped(tmp_path: Path) -> None:
    plan = made_up_plan("data.data-dir=<b>x</b>,other")
    outcome = collect(plan, made_up_sweep(tmp_path, plan, {"001": 0.5}), None)
    assert "<b>" not in render(outcome)
