"""What an epsilon means for one person's image, in figures that need no differential privacy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

CURVE_DELTAS = (1e-1, 3e-2, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
FALSE_ALARM_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One pair of the guarantee: `epsilon` holds but for a chance of `delta`."""

    delta: float
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """The guarantee of the client that spent most, seen from several sides.

    Args:
        partition_id: that client, None where no ledger is readable.
        curve: epsilon for each of several deltas, by PLD, largest delta first.
        gaussian_mu: distance in standard deviations of the two bell curves that are as hard to tell apart
            as the curve says at its least favourable point; a summary, not a bound of its own, and infinite
            where it would have to be drawn from a single pair.
        false_alarm_rate: share of absent images that an attacker accepts to accuse wrongly.
        detection_rate: the most of the present images that such an attacker can recognise.
    """

    partition_id: int | None
    curve: tuple[CurvePoint, ...]
    gaussian_mu: float
    false_alarm_rate: float
    detection_rate: float


def explain(
    partition_id: int,
    delta: float,
    epsilon_at: Callable[[float], float],
    others: Sequence[float] = CURVE_DELTAS,
) -> Meaning:
    """Evaluate the guarantee of one client at several deltas, and what follows from it.

    Args:
        delta: the claimed one; it is added to the curve.
        epsilon_at: the client's epsilon at a delta.
        others: further deltas; none where the guarantee is a single pair.
    """
    deltas = sorted({*others, delta}, reverse=True)
    curve = tuple(CurvePoint(delta=value, epsilon=epsilon_at(value)) for value in deltas)
    return Meaning(
        partition_id=partition_id,
        curve=curve,
        gaussian_mu=max(gaussian_mu(point) for point in curve) if others else math.inf,
        false_alarm_rate=FALSE_ALARM_RATE,
        detection_rate=detection_rate(curve, FALSE_ALARM_RATE),
    )


def nothing_to_explain() -> Meaning:
    """Return the meaning of a run without a readable ledger: nothing is limited."""
    return Meaning(
        partition_id=None,
        curve=(),
        gaussian_mu=math.inf,
        false_alarm_rate=FALSE_ALARM_RATE,
        detection_rate=1.0,
    )


def detection_rate(curve: Sequence[CurvePoint], false_alarm_rate: float) -> float:
    """Bound the share of true members that any membership test finds at a false alarm rate.

    Source: Kairouz, Oh and Viswanath 2015, Theorem 2.1: every (epsilon, delta) bounds every test from both
    sides, so the least bound over the curve holds.
    """
    bounds = [1.0]
    for point in curve:
        if math.isfinite(point.epsilon):
            grown = math.exp(min(point.epsilon, 700.0)) * false_alarm_rate + point.delta
            left = math.exp(-point.epsilon) * (1 - point.delta - false_alarm_rate)
            bounds += [grown, 1 - left]
    return max(min(bounds), false_alarm_rate)


def gaussian_mu(point: CurvePoint) -> float:
    """Return mu for which the Gaussian mechanism has exactly this epsilon and delta.

    Source: Dong, Roth and Su 2022, Corollary 2.13, solved by bisection.
    """
    if not math.isfinite(point.epsilon):
        return math.inf
    low, high = 0.0, 1.0
    while _gaussian_delta(high, point.epsilon) < point.delta:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _gaussian_delta(middle, point.epsilon) < point.delta else (low, middle)
    return high


def _gaussian_delta(mu: float, epsilon: float) -> float:
    normal = NormalDist()
    if mu == 0:
        return 0.0
    # exp(epsilon) may overflow while the tail vanishes; their product does neither.
    tail = normal.cdf(-epsilon / mu - mu / 2)
    second = math.exp(epsilon + math.log(tail)) if tail > 0 else 0.0
    return normal.cdf(-epsilon / mu + mu / 2) - second
