"""What an epsilon means."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from common.audit.meaning import CurvePoint, detection_rate, explain, gaussian_mu, nothing_to_explain


def test_nothing_can_be_detected_at_epsilon_zero() -> None:
    assert detection_rate([CurvePoint(delta=0.0, epsilon=0.0)], 0.01) == pytest.approx(0.01)


def test_pure_epsilon_multiplies_the_false_alarm_rate() -> None:
    # exp(log 3) * 0.01 = 0.03, and delta adds itself.
    assert detection_rate([CurvePoint(delta=0.0, epsilon=math.log(3))], 0.01) == pytest.approx(0.03)
    assert detection_rate([CurvePoint(delta=0.002, epsilon=math.log(3))], 0.01) == pytest.approx(0.032)


def test_at_a_large_false_alarm_rate_the_other_side_of_the_bound_decides() -> None:
    # exp(log 4) * 0.5 = 2 says nothing; 1 - (1 - 0.5) / 4 = 0.875.
    assert detection_rate([CurvePoint(delta=0.0, epsilon=math.log(4))], 0.5) == pytest.approx(0.875)


def test_the_best_point_of_the_curve_decides() -> None:
    points = [CurvePoint(delta=1e-5, epsilon=8.0), CurvePoint(delta=0.1, epsilon=0.0)]
    assert detection_rate(points, 0.01) == pytest.approx(0.11)


def test_without_protection_everything_can_be_detected() -> None:
    assert detection_rate([CurvePoint(delta=1e-5, epsilon=math.inf)], 0.01) == 1.0
    assert nothing_to_explain().detection_rate == 1.0


def test_mu_of_a_gaussian_mechanism_is_found_again() -> None:
    normal, mu, epsilon = NormalDist(), 1.5, 2.0
    delta = normal.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * normal.cdf(-mu / 2 - epsilon / mu)
    assert gaussian_mu(CurvePoint(delta=delta, epsilon=epsilon)) == pytest.approx(1.5, abs=1e-9)


def test_mu_of_an_enormous_epsilon_is_finite_and_of_none_infinite() -> None:
    assert math.isfinite(gaussian_mu(CurvePoint(delta=1e-5, epsilon=5000.0)))
    assert gaussian_mu(CurvePoint(delta=1e-5, epsilon=math.inf)) == math.inf


def test_the_claimed_delta_is_on_the_curve() -> None:
    meaning = explain(4, 2e-6, lambda delta: -math.log10(delta))
    assert meaning.partition_id == 4
    assert [point.epsilon for point in meaning.curve if point.delta == 2e-6] == [pytest.approx(5.69897)]
    assert [point.delta for point in meaning.curve] == sorted({p.delta for p in meaning.curve}, reverse=True)


def test_of_a_single_pair_no_mu_is_drawn() -> None:
    meaning = explain(4, 1e-5, lambda _: 8.0, others=())
    assert [(point.delta, point.epsilon) for point in meaning.curve] == [(1e-5, 8.0)]
    assert meaning.gaussian_mu == math.inf
    assert meaning.detection_rate == pytest.approx(1 - math.exp(-8) * (1 - 1e-5 - 0.01))
