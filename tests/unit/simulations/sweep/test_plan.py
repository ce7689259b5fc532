"""What is wrong with a sweep is found before any run starts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.errors import ConfigError
from common.privacy.selection import Repeats
from simulations.sweep.axes import parse_axes
from simulations.sweep.plan import SweepPlan, check, plan_of

RATES = "training.learning-rate=1,2"
SEEDS = "runtime.seed=0,1,2"
SELECTION: dict[str, Any] = {
    "strategy": "random",
    "charge": "selection",
    "repeats": Repeats(distribution="poisson", mean=3.0),
}


def plan(*over: str, base: dict[str, Any] | None = None, **how: Any) -> SweepPlan:
    return SweepPlan(base=base or {}, axes=parse_axes(over), **how)


def test_seeds_are_runs_of_one_candidate() -> None:
    made = plan(RATES, SEEDS)
    assert [run.name for run in made.runs][:4] == ["001-seed-0", "001-seed-1", "001-seed-2", "002-seed-0"]
    assert [run.candidate for run in made.runs] == [1, 1, 1, 2, 2, 2]
    assert made.runs[4].settings == {"training.learning-rate": 2, "runtime.seed": 1}
    assert made.runs[4].label == "learning-rate=2 seed=1"


def test_settings_of_the_file_give_way_to_the_axes() -> None:
    made = plan(RATES, base={"training.learning-rate": 50, "training.momentum": 0.5})
    config = made.config(made.runs[1].settings)
    assert (config.training.learning_rate, config.training.momentum) == (2, 0.5)


@pytest.mark.parametrize("how", [{}, {"strategy": "halving", "keep": 3}, SELECTION])
def test_a_plan_is_read_back_as_it_was_written(how: dict[str, Any]) -> None:
    made = plan(RATES, base={"privacy.epsilon": 3.0}, **how)
    check(made)
    assert plan_of(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    ("over", "base", "how", "line"),
    [
        (["training.learning-rat=1,2"], {}, {}, "learning-rat=1: unknown setting training.learning-rat"),
        (
            ["training.learning-rate=1,-2"],
            {},
            {},
            "with learning-rate=-2: training.learning-rate = -2 is not permitted",
        ),
        (
            ["training.momentum=0,0.9", "training.optimizer=sgd,adam"],
            {},
            {},
            "with momentum=0.9 optimizer=adam: training.momentum = 0.9 does not apply to adam",
        ),
        (["model.name=cnn,cmm"], {}, {}, "with name=cmm: unknown model 'cmm'"),
        (
            ["data.augmentation=none,flip-crop"],
            {"model.name": "patch-linear"},
            {},
            "augmentation=flip-crop: ",
        ),
        ([RATES], {"runtime.ledgers": "home"}, {}, "a sweep's go side by side"),
        ([RATES], {"runtime.out": "here"}, {}, "name the folder of a sweep with --out"),
        (["runtime.seed=" + ",".join(map(str, range(1001)))], {}, {}, "1,001 runs are too many"),
        ([RATES], {}, {"strategy": "random"}, "do not go together"),
        ([RATES], {}, {"charge": "selection"}, "do not go together"),
        ([RATES], {}, {"repeats": SELECTION["repeats"]}, "--trials is the mean number of trials"),
        ([RATES], {}, SELECTION | {"repeats": None}, "--trials is the mean number of trials"),
        ([RATES], {"privacy.enabled": False}, {"charge": "sum"}, "this sweep is NOT PRIVATE"),
        (["privacy.epsilon=1,2"], {}, SELECTION, "private selection is for trials of equal cost"),
        ([RATES, SEEDS], {}, SELECTION, "--over runtime.seed does not go with --charge selection"),
        (
            ["training.sample-rate=0.1,0.2"],
            {},
            {"strategy": "halving", "charge": "sum"},
            "composes only where all cost the same",
        ),
        (["federation.num-server-rounds=10,20"], {}, {"strategy": "halving"}, "decides itself"),
        ([RATES], {"federation.num-server-rounds": 1}, {"strategy": "halving"}, "cannot be divided"),
        ([SEEDS], {}, {"strategy": "halving"}, "at least 2 settings"),
    ],
)
def test_what_is_wrong_is_named(
    over: list[str], base: dict[str, Any], how: dict[str, Any], line: str
) -> None:
    with pytest.raises(ConfigError) as error:
        check(plan(*over, base=base, **how))
    assert line in str(error.value)


def test_halving_by_settings_that_cost_the_same_may_be_summed_and_seeded() -> None:
    check(plan(RATES, SEEDS, "privacy.max-grad-norm=0.1,1", strategy="halving", charge="sum"))
