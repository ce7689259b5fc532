from __future__ import annotations

import math

import numpy as np
import pytest

from common.privacy.renyi import FRACTIONAL_ORDERS, ORDERS, WHOLE_ORDERS, renyi_curve


def test_without_sampling_the_curve_is_a_line():
    # Mironov 2017, Corollary 3: order / (2 sigma^2).
    assert renyi_curve(2.0, 1.0) == pytest.approx(np.array(ORDERS) / 8, rel=1e-9)


def test_order_two_has_a_closed_form():
    # log(1 + q^2 (exp(1 / sigma^2) - 1)), by expanding the square.
    sigma, rate = 1.5, 0.2
    expected = math.log(1 + rate**2 * (math.exp(1 / sigma**2) - 1))
    assert renyi_curve(sigma, rate)[ORDERS.index(2)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("sigma", "rate"), [(1.1, 0.02), (1.5, 0.2), (30.0, 0.5), (0.3, 0.01)])
def test_fractional_orders_equal_those_of_opacus(sigma, rate):
    from opacus.accountants.analysis.rdp import compute_rdp

    ours = renyi_curve(sigma, rate)[len(WHOLE_ORDERS) :]
    theirs = compute_rdp(q=rate, noise_multiplier=sigma, steps=1, orders=list(FRACTIONAL_ORDERS))
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_the_curve_rises_with_the_order_across_both_ways_of_computing_it():
    curve = renyi_curve(1.2, 0.1)
    rising = curve[np.argsort(ORDERS)]
    assert np.all(np.diff(rising) > 0)


def test_almost_no_divergence_is_not_rounded_to_none():
    # order / 2 * q^2 / sigma^2 = 1e-18 is lost in 1 + 1e-18, and zero would mean perfect privacy.
    assert np.all(renyi_curve(1000.0, 1e-6) > 1e-18)


def test_little_noise_leaves_the_whole_orders():
    curve = renyi_curve(0.01, 0.5)
    assert np.all(np.isinf(curve[len(WHOLE_ORDERS) :]))
    assert np.all(np.isfinite(curve[: len(WHOLE_ORDERS)]))
