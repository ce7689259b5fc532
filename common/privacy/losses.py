"""Privacy losses of one noisy step, on a grid: distributions that dominate the true ones.

Source: Doroshenko et al. 2022, "Connect the Dots", section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from common.privacy.mechanisms import PoissonGaussian

Floats = NDArray[np.float64]

DOUBLINGS: Floats = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
"""Multiples of an order at which `LossDistribution.cumulants` answers."""

_SIGMAS = 10.0
_NEGLIGIBLE = 1e-150


@dataclass(frozen=True, kw_only=True)
class LossDistribution:
    """Probabilities [k] of the privacy losses (first + i) * interval, and of an infinite loss."""

    first: int
    probabilities: Floats
    infinite: float

    def cumulants(self, order: float, interval: float) -> Floats:
        """Return log E[exp(k * order * loss)] for each k in DOUBLINGS, infinite where it is unknown.

        Infinite losses are left out. Doubling an order squares the exponentials, which costs far less than
        new ones, unless they become subnormal: those are too small to count.
        """
        exponents = (self.first + np.arange(len(self.probabilities))) * (interval * order)
        largest = float(exponents.max())
        powers, masses = np.exp(exponents - largest), np.maximum(self.probabilities, 0.0)
        moments = [float(np.sum(powers * masses))]
        for _ in DOUBLINGS[1:]:
            powers[powers < _NEGLIGIBLE] = 0.0
            powers *= powers
            moments.append(float(np.sum(powers * masses)))
        known = np.maximum(moments, np.finfo(np.float64).tiny)
        return np.where(np.array(moments) > 0, np.log(known) + DOUBLINGS * largest, np.inf)

    def epsilon(self, delta: float, interval: float) -> float:
        """Return the smallest epsilon >= 0 at which the curve of the losses is at most delta.

        The curve is infinite + sum over losses above epsilon of p * (1 - exp(epsilon - loss)); between two
        neighbouring losses it is solved for epsilon directly.
        """
        if self.infinite > delta:
            return math.inf
        losses = (self.first + np.arange(len(self.probabilities))) * interval
        losses, masses = losses[losses > 0], np.maximum(self.probabilities[losses > 0], 0.0)
        mass = self.infinite + np.cumsum(masses[::-1])[::-1]
        with np.errstate(divide="ignore"):
            log_weighted = np.logaddexp.accumulate((np.log(masses) - losses)[::-1])[::-1]
        too_much = np.flatnonzero(mass - np.exp(losses + log_weighted) > delta)
        index = int(too_much[-1]) + 1 if len(too_much) else 0
        if index == len(losses) or mass[index] <= delta:
            return float(losses[index - 1]) if index else 0.0
        return max(0.0, math.log(mass[index] - delta) - float(log_weighted[index]))


@dataclass(frozen=True, kw_only=True)
class StepLosses:
    """The losses of one mechanism when the record is present, and when it is zeroed out."""

    present: LossDistribution
    absent: LossDistribution
    num_steps: int


def discretise(mechanism: PoissonGaussian, interval: float) -> StepLosses:
    """Replace the pair of distributions of one step by a dominating pair on multiples of the interval.

    The line before the first point starts at delta(t = 0) = 1 and the curve stays level after the last
    point, both above the true curve. Swapping the pair mirrors the losses and weighs each with exp(-loss);
    what the first line cuts off, at most the tail beyond ten standard deviations, becomes an infinite loss.
    """
    sigma, rate = mechanism.noise_multiplier, float(mechanism.sample_rate)
    edges = loss_range(sigma, rate)
    first, last = math.floor(edges.low / interval), math.ceil(edges.high / interval)
    losses: Floats = np.arange(first, last + 1, dtype=np.float64) * interval
    curve = _hockey_stick(losses, sigma, rate)
    slopes = np.diff(curve)
    present = np.zeros_like(curve)
    present[:-1] += slopes / math.expm1(interval)
    present[1:] += slopes / math.expm1(-interval)
    present[0] += 1 - curve[0]
    absent = (present * np.exp(np.minimum(-losses, 700.0)))[::-1]
    return StepLosses(
        present=LossDistribution(first=first, probabilities=present, infinite=float(curve[-1])),
        absent=LossDistribution(first=-last, probabilities=absent, infinite=float(special.ndtr(-_SIGMAS))),
        num_steps=mechanism.num_steps,
    )


@dataclass(frozen=True, kw_only=True)
class LossRange:
    """The losses of one step between ten standard deviations of noise on either side."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """How far the losses spread."""
        return self.high - self.low


def loss_range(sigma: float, rate: float) -> LossRange:
    """Return the losses that a grid has to cover."""
    low, high = (
        float(np.logaddexp(_log_or_minus_infinity(1 - rate), math.log(rate) + (2 * x - 1) / (2 * sigma**2)))
        for x in (-_SIGMAS * sigma, 1 + _SIGMAS * sigma)
    )
    return LossRange(low=low, high=high)


def _log_or_minus_infinity(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _hockey_stick(losses: Floats, sigma: float, rate: float) -> Floats:
    """Return delta at each loss: probability with the record less exp(loss) times that without.

    With t = exp(loss) and x the output at which the ratio of densities is t:
    rate * P[N(1, sigma) > x] - (t - 1 + rate) * P[N(0, sigma) > x], and 1 - t where no output has that ratio.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_excess = losses + np.log1p(-(1 - rate) * np.exp(-losses))
    reached = np.isfinite(log_excess)
    log_excess = np.where(reached, log_excess, 0.0)
    threshold = sigma**2 * (log_excess - math.log(rate)) + 0.5
    above = np.exp(math.log(rate) + special.log_ndtr((1 - threshold) / sigma))
    above -= np.exp(log_excess + special.log_ndtr(-threshold / sigma))
    return np.where(reached, np.maximum(above, 0.0), -np.expm1(np.minimum(losses, 0.0)))
