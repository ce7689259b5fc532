from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from common.privacy.noise import DiscreteLaplace, Gaussian, Laplace, PoissonGaussian
from common.privacy.renyi import FRACTIONAL_ORDERS, ORDERS, WHOLE_ORDERS, renyi_curve


def sampled(sigma: float, rate: float) -> np.ndarray:
    rate = Fraction(rate).limit_denominator(10**9)
    return renyi_curve(PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, num_steps=7))


def test_without_sampling_the_curve_is_a_line():
    # Mironov 2017, Corollary 3: order / (2 sigma^2).
    assert sampled(2.0, 1.0) == pytest.approx(np.array(ORDERS) / 8, rel=1e-9)


def test_order_two_has_a_closed_form():
    # log(1 + q^2 (exp(1 / sigma^2) - 1)), by expanding the square.
    sigma, rate = 1.5, 0.2
    expected = math.log(1 + rate**2 * (math.exp(1 / sigma**2) - 1))
    assert sampled(sigma, rate)[ORDERS.index(2)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("sigma", "rate"), [(1.1, 0.02), (1.5, 0.2), (30.0, 0.5), (0.3, 0.01)])
def test_fractional_orders_equal_those_of_opacus(sigma, rate):
    from opacus.accountants.analysis.rdp import compute_rdp

    ours = sampled(sigma, rate)[len(WHOLE_ORDERS) :]
    theirs = compute_rdp(q=rate, noise_multiplier=sigma, steps=1, orders=list(FRACTIONAL_ORDERS))
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_the_curve_rises_with_the_order_across_both_ways_of_computing_it():
    curve = sampled(1.2, 0.1)
    rising = curve[np.argsort(ORDERS)]
    assert np.all(np.diff(rising) > 0)


def test_almost_no_divergence_is_not_rounded_to_none():
    # order / 2 * q^2 / sigma^2 = 1e-18 is lost in 1 + 1e-18, and zero would mean perfect privacy.
    assert np.all(sampled(1000.0, 1e-6) > 1e-18)


def test_little_noise_leaves_the_whole_orders():
    curve = sampled(0.01, 0.5)
    assert np.all(np.isinf(curve[len(WHOLE_ORDERS) :]))
    assert np.all(np.isfinite(curve[: len(WHOLE_ORDERS)]))


def divergence(present: np.ndarray, absent: np.ndarray, order: float) -> float:
    """Return the larger of both directions, from the definition (Mironov 2017, Definition 3)."""
    both = [np.sum(p * (p / q) ** (order - 1)) for p, q in ((present, absent), (absent, present))]
    return math.log(max(both)) / (order - 1)


@pytest.mark.parametrize("scale", [0.4, 1.0, 5.0, 60.0])
@pytest.mark.parametrize("order", [1.1, 2.5, 8, 40])
def test_discrete_laplace_is_the_sum_over_its_outputs(scale, order):
    outputs = np.arange(-4000, 4001)
    present, absent = (np.exp(-np.abs(outputs - count) / scale) * math.tanh(0.5 / scale) for count in (1, 0))
    kept = np.minimum(present, absent) > 1e-300
    curve = renyi_curve(DiscreteLaplace(noise_multiplier=scale, num_steps=3), (order,))
    assert curve[0] == pytest.approx(divergence(present[kept], absent[kept], order), rel=1e-6)


@pytest.mark.parametrize("scale", [0.4, 1.0, 5.0, 60.0])
@pytest.mark.parametrize("order", [1.1, 2.5, 8, 40])
def test_laplace_is_the_integral_over_its_outputs(scale, order):
    step = 1e-4
    between = np.arange(step / 2, 1, step)
    masses = [np.exp(-np.abs(between - value) / scale) / (2 * scale) * step for value in (1, 0)]
    # Beyond 0 and 1 the ratio is constant: each side is one output.
    present = np.concatenate([[0.5 * math.exp(-1 / scale)], masses[0], [0.5]])
    absent = np.concatenate([[0.5], masses[1], [0.5 * math.exp(-1 / scale)]])
    curve = renyi_curve(Laplace(noise_multiplier=scale, num_steps=3), (order,))
    assert curve[0] == pytest.approx(divergence(present, absent, order), rel=1e-4)


def test_gaussian_is_a_batch_that_holds_every_record():
    gaussian = Gaussian(noise_multiplier=1.7, num_steps=5)
    assert renyi_curve(gaussian) == pytest.approx(sampled(1.7, 1), rel=1e-9)


def test_laplace_noise_costs_at_most_its_pure_epsilon_and_nearly_that_at_high_orders():
    for kind in (Laplace, DiscreteLaplace):
        curve = renyi_curve(kind(noise_multiplier=0.25, num_steps=1))
        assert np.all(curve <= 4)
        assert curve[ORDERS.index(1024)] == pytest.approx(4, rel=1e-3)


def test_one_order_alone_is_that_of_the_curve():
    mechanism = PoissonGaussian(noise_multiplier=1.1, sample_rate=Fraction(1, 7), num_steps=1)
    for order in (1.1, 2, 10.9, 64, 1024):
        alone = renyi_curve(mechanism, (order,))[0]
        assert alone == pytest.approx(renyi_curve(mechanism)[ORDERS.index(order)], rel=1e-12)
