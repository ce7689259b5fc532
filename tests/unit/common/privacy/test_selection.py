"""Releasing the best of a random number of runs: the draw, and the cost against dp-accounting itself."""

from __future__ import annotations

import math
import random
import statistics
from fractions import Fraction

import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.dp_event import RepeatAndSelectDpEvent
from dp_accounting.rdp import RdpAccountant

from common.errors import ConfigError
from common.privacy.accounting import epsilon_pld
from common.privacy.mechanisms import PoissonGaussian, Unprotected
from common.privacy.selection import Distribution, Repeats, epsilon_of_selection

DELTA = 1e-5
RUN = PoissonGaussian(noise_multiplier=3.2, sample_rate=Fraction(1, 5), num_steps=120)


@pytest.mark.parametrize(("distribution", "shape"), [("poisson", math.inf), ("geometric", 1.0)])
def test_the_cost_is_that_of_dp_accounting_called_directly(distribution: Distribution, shape: float) -> None:
    run = SelfComposedDpEvent(PoissonSampledDpEvent(0.2, GaussianDpEvent(3.2)), 120)
    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.REPLACE_SPECIAL)
    accountant.compose(RepeatAndSelectDpEvent(run, 10.0, shape))
    repeats = Repeats(distribution=distribution, mean=10.0)
    direct = accountant.get_epsilon(DELTA)  # at fractional orders too, so a little less
    assert direct * (1 - 1e-9) <= epsilon_of_selection([RUN], DELTA, repeats) <= 1.01 * direct


def test_it_costs_more_than_one_run_and_less_than_all_of_twenty() -> None:
    cost = epsilon_of_selection([RUN], DELTA, Repeats(distribution="poisson", mean=20.0))
    assert epsilon_pld([RUN], DELTA) < cost < epsilon_pld([RUN] * 20, DELTA)


def test_rounds_charged_one_by_one_cost_what_they_cost_together() -> None:
    repeats = Repeats(distribution="geometric", mean=5.0)
    single = PoissonGaussian(noise_multiplier=3.2, sample_rate=Fraction(1, 5), num_steps=1)
    assert epsilon_of_selection([single] * 120, DELTA, repeats) == epsilon_of_selection([RUN], DELTA, repeats)


def test_nothing_costs_nothing_and_no_noise_costs_everything() -> None:
    repeats = Repeats(distribution="poisson", mean=2.0)
    assert epsilon_of_selection([], DELTA, repeats) == 0.0
    assert epsilon_of_selection([Unprotected(num_steps=1)], DELTA, repeats) == math.inf


@pytest.mark.parametrize(
    ("distribution", "variance", "none"), [("poisson", 6.0, math.exp(-6)), ("geometric", 30.0, 0.0)]
)
def test_the_number_of_runs_has_its_distribution(
    distribution: Distribution, variance: float, none: float
) -> None:
    source, repeats = random.Random(5), Repeats(distribution=distribution, mean=6.0)
    drawn = [repeats.draw(source) for _ in range(20_000)]
    assert statistics.mean(drawn) == pytest.approx(6.0, rel=0.03)
    assert statistics.variance(drawn) == pytest.approx(variance, rel=0.06)
    assert drawn.count(0) / len(drawn) == pytest.approx(none, abs=0.002)


@pytest.mark.parametrize("mean", [0.5, 0.0, -3.0, 1001.0, math.nan, math.inf])
def test_a_mean_that_no_distribution_has_is_refused(mean: float) -> None:
    with pytest.raises(ConfigError, match="at least 1 and at most 1000"):
        Repeats(distribution="poisson", mean=mean)
