from __future__ import annotations

import itertools
from fractions import Fraction

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant

from common.privacy.accounting import epsilon_pld
from common.privacy.bound import claim_interval, epsilon_at_interval, epsilon_bound, gaussian_estimate
from common.privacy.losses import discretise
from common.privacy.mechanisms import DiscreteLaplace, Gaussian, Laplace, PoissonGaussian

HISTORIES = [
    [(1.1, "0.02", 500), (1.4, "0.02", 500)],
    [(2.0, "0.2", 100)],
    [(0.5, "0.05", 200)],
    [(4.0, "1", 50)],
    [(1.3, "0.003", 2000)],
    [(100.0, "0.2", 10)],
    [(1.0, "0.0001", 3)],
    [(3.0, "0.999", 20)],
    [(0.7, "0.9", 2), (5.0, "0.001", 40)],
    [(1.0, "0.9999", 1)],
    [(1.0, "1", 1)],
]


def mechanisms(history):
    return [
        PoissonGaussian(noise_multiplier=sigma, sample_rate=Fraction(rate), num_steps=steps)
        for sigma, rate, steps in history
    ]


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize(("delta", "tolerance"), [(1e-5, 3e-7), (1e-8, 1e-6), (1e-10, 1e-4)])
def test_on_one_grid_the_bound_is_the_accountant_s_own_answer(history, delta, tolerance):
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.REPLACE_SPECIAL, 1.6e-3)
    for sigma, rate, steps in history:
        event = dp_accounting.PoissonSampledDpEvent(
            float(Fraction(rate)), dp_accounting.GaussianDpEvent(sigma)
        )
        accountant.compose(event, steps)
    expected = accountant.get_epsilon(delta)
    bound = epsilon_at_interval(mechanisms(history), delta, interval=1.6e-3)
    assert bound == pytest.approx(expected, rel=tolerance)
    assert bound >= expected * (1 - 1e-9)


@pytest.mark.parametrize("history", HISTORIES)
def test_a_grid_within_a_grid_never_gives_more(history):
    values = [epsilon_at_interval(mechanisms(history), 1e-5, interval=k * 4e-4) for k in (1, 3, 6, 12, 24)]
    assert all(fine <= coarse * (1 + 1e-9) for fine, coarse in itertools.pairwise(values))


@pytest.mark.parametrize("history", HISTORIES[:5])
def test_precision_is_kept(history):
    finest = epsilon_bound(mechanisms(history), 1e-5, precision=1e-9)
    for precision in (1e-3, 1e-2):
        assert (
            finest
            <= epsilon_bound(mechanisms(history), 1e-5, precision=precision)
            <= finest * (1 + 1.5 * precision)
        )


def test_nothing_costs_nothing():
    assert epsilon_bound([], 1e-5, precision=1e-3) == 0.0


def test_the_claim_s_interval_widens_only_for_little_noise_or_much_loss():
    assert claim_interval(mechanisms([(0.5, "0.2", 100)])) == 1e-4
    assert claim_interval(mechanisms([(1.0, "0.01", 20_000)])) == 1e-4
    assert claim_interval(mechanisms([(0.1, "0.2", 1)])) == 8e-4
    assert claim_interval(mechanisms([(1.0, "1", 100_000)])) > 1e-4


def test_the_estimate_is_exact_for_many_full_steps():
    # 100 steps of sigma 10 are one Gaussian of mu 1: mu^2 / 2 + 4.265 mu, an upper estimate of 4.377.
    assert gaussian_estimate(mechanisms([(10.0, "1", 100)]), 1e-5) == pytest.approx(4.765, abs=1e-2)


def test_almost_no_loss_at_all_is_bounded_too():
    # One record in 10^9 batches: with probability 1 - 1e-9 it is in none.
    assert epsilon_bound(mechanisms([(0.3, "1/1000000000", 1)]), 1e-5, precision=1e-3) < 1e-4
    assert 0 < epsilon_bound(mechanisms([(0.3, "1/1000000000", 1)]), 1e-10, precision=1e-3) < 5


MIXED = [
    [Laplace(noise_multiplier=1.0, num_steps=1)],
    [Laplace(noise_multiplier=10.0, num_steps=100)],
    [DiscreteLaplace(noise_multiplier=3.7, num_steps=7)],
    [DiscreteLaplace(noise_multiplier=0.98901, num_steps=1)],
    [Gaussian(noise_multiplier=3.0, num_steps=9)],
    [Gaussian(noise_multiplier=0.5, num_steps=2), Laplace(noise_multiplier=0.4, num_steps=2)],
    [*mechanisms([(2.0, "0.05", 100)]), DiscreteLaplace(noise_multiplier=30.0, num_steps=20)],
    [*mechanisms([(1.0, "0.0001", 3)]), DiscreteLaplace(noise_multiplier=13.0, num_steps=30)],
    [
        *mechanisms([(3.0, "0.1", 50)]),
        Gaussian(noise_multiplier=20.0, num_steps=3),
        Laplace(noise_multiplier=9.0, num_steps=8),
        DiscreteLaplace(noise_multiplier=7.0, num_steps=8),
    ],
]


@pytest.mark.parametrize("history", MIXED)
@pytest.mark.parametrize("delta", [1e-4, 1e-8])
def test_with_other_noise_the_bound_lies_between_the_claim_and_a_thousandth_above(history, delta):
    claim = epsilon_pld(history, delta)
    assert claim <= epsilon_bound(history, delta, precision=2e-4) <= claim * 1.001


@pytest.mark.parametrize("history", MIXED)
def test_any_wider_grid_is_above_the_claim_too(history):
    claim = epsilon_pld(history, 1e-5)
    for interval in (1e-4, 3e-4, 1.7e-3, 2.3456e-2):
        assert epsilon_at_interval(history, 1e-5, interval=interval) >= claim * (1 - 1e-9)


@pytest.mark.parametrize("kind", [Laplace, DiscreteLaplace])
@pytest.mark.parametrize("interval", [1e-4, 3e-3, 0.07])
def test_a_wider_grid_keeps_both_distributions_of_a_step(kind, interval):
    step = discretise(kind(noise_multiplier=2.3, num_steps=4), interval, finest=1e-4).present
    losses = (step.first + np.arange(len(step.probabilities))) * interval
    assert step.infinite == 0
    assert np.all(step.probabilities >= -1e-12)
    assert np.sum(step.probabilities) == pytest.approx(1, abs=1e-9)
    # The finest grid's rounding up takes at most 1e-4 of the other distribution.
    assert 1 - 1e-4 <= np.sum(step.probabilities * np.exp(-losses)) <= 1 + 1e-9


def test_without_normal_noise_the_finest_interval_is_kept():
    # Single losses have probabilities of their own: a coarse grid would be wrong by its interval.
    history = [DiscreteLaplace(noise_multiplier=1 / 1.01101, num_steps=1)]
    assert epsilon_bound(history, 1e-5, precision=1e-2) <= 1.01111
