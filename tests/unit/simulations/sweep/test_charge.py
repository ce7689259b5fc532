"""What runs cost together, against one accountant that composes everything."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant

from common.privacy.accounting import epsilon_pld, epsilon_rdp
from common.privacy.budget import default_delta
from common.privacy.mechanisms import PoissonGaussian, Unprotected
from common.run_folder import RunFolder
from simulations.sweep.charge import composed, epsilon_of_groups
from tests.run_folders import RunPlan, write_run

DELTA = 1e-5
CHEAP = PoissonGaussian(noise_multiplier=4.0, sample_rate=Fraction(1, 5), num_steps=10)
DEAR = PoissonGaussian(noise_multiplier=1.5, sample_rate=Fraction(1, 5), num_steps=10)


def runs(tmp_path: Path, *plans: RunPlan) -> list[tuple]:
    return [(plan.config, write_run(tmp_path / str(number), plan)) for number, plan in enumerate(plans)]


def one_accountant(*parts: tuple[float, int]) -> float:
    accountant = PLDAccountant(NeighboringRelation.REPLACE_SPECIAL, 1e-4)
    for noise, steps in parts:
        accountant.compose(PoissonSampledDpEvent(0.2, GaussianDpEvent(noise)), steps)
    return accountant.get_epsilon(default_delta(50))


def test_runs_on_the_same_records_compose_in_one_accountant(tmp_path: Path) -> None:
    made = runs(
        tmp_path,
        RunPlan(noise_multiplier=2.0, settings={"training.learning-rate": 1.0}),
        RunPlan(noise_multiplier=3.0, rounds=4, settings={"training.learning-rate": 2.0}),
    )
    together = composed(made)
    assert together.epsilon == pytest.approx(one_accountant((2.0, 6), (3.0, 8)), abs=1e-9)
    assert (together.delta, together.runs) == (default_delta(50), 2)


def test_under_another_seed_a_record_may_lie_with_any_client(tmp_path: Path) -> None:
    def dearer_second(body, client):
        mechanism = PoissonGaussian(noise_multiplier=1.5, sample_rate=Fraction(1, 5), num_steps=2)
        return body if client == 0 else body.__class__(**{**vars(body), "mechanisms": (mechanism,)})

    def dearer_first(body, client):
        return dearer_second(body, 1 - client)

    same = runs(tmp_path / "same", RunPlan(change=dearer_first), RunPlan(change=dearer_second))
    moved = runs(
        tmp_path / "moved",
        RunPlan(change=dearer_first),
        RunPlan(change=dearer_second, settings={"runtime.seed": 1}),
    )
    assert composed(same).epsilon == pytest.approx(one_accountant((2.0, 6), (1.5, 6)), abs=1e-9)
    assert composed(moved).epsilon == pytest.approx(one_accountant((1.5, 12)), abs=1e-9)


def test_a_run_that_failed_counts_as_far_as_it_charged(tmp_path: Path) -> None:
    whole, unfinished = runs(tmp_path, RunPlan(), RunPlan(rounds=1))
    never_begun = (RunPlan().config, RunFolder(tmp_path / "nothing"))
    together = composed([whole, unfinished, never_begun])
    assert together.epsilon == pytest.approx(one_accountant((2.0, 8)), abs=1e-9)
    assert together.runs == 2


def test_one_run_without_protection_leaves_none(tmp_path: Path) -> None:
    made = runs(tmp_path, RunPlan(), RunPlan(settings={"privacy.enabled": False}))
    assert composed(made).epsilon == math.inf
    assert epsilon_of_groups([[((Unprotected(num_steps=1),), DELTA)]]) == math.inf


def test_nothing_costs_nothing() -> None:
    assert composed([]).epsilon == 0.0


def test_very_many_choices_are_bounded_by_renyi_divergences_of_the_dearest() -> None:
    history = [((CHEAP,), DELTA), ((DEAR,), DELTA)]
    bound = epsilon_of_groups([history] * 9)  # 512 choices
    assert bound == pytest.approx(epsilon_rdp([DEAR] * 9, DELTA), rel=1e-9)
    assert epsilon_pld([DEAR] * 9, DELTA) <= bound <= 1.2 * epsilon_pld([DEAR] * 9, DELTA)
