from __future__ import annotations

import itertools
from fractions import Fraction

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from common.privacy.bound import claim_interval, epsilon_at_interval, epsilon_bound, gaussian_estimate
from common.privacy.mechanisms import PoissonGaussian

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
