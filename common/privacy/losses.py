"""Privacy losses of one noisy step, on a grid: distributions that dominate the true ones.

Source: Doroshenko et al. 2022, "Connect the Dots", section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from common.privacy.noise import DiscreteLaplace, Gaussian, Laplace, PoissonGaussian, Protected

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
    """The losses of one step when the record is present, and when it is zeroed out, and how many steps."""

    present: LossDistribution
    absent: LossDistribution
    num_steps: int


def discretise(mechanism: Protected, interval: float, *, finest: float) -> StepLosses:
    """Replace the pair of distributions of one step by a dominating pair on multiples of the interval.

    Args:
        mechanism: all steps of a `Gaussian` become one, as they do in the claim.
        interval: distance of two neighbouring losses, in nats.
        finest: interval of the claim, to whose multiples it rounds up a `DiscreteLaplace`'s two losses.
    """
    if isinstance(mechanism, DiscreteLaplace):
        losses = _discrete_laplace(1 / mechanism.noise_multiplier, interval, finest)
        return StepLosses(present=losses, absent=losses, num_steps=mechanism.num_steps)
    edges = loss_range(mechanism)
    first, last = math.floor(edges.low / interval), math.ceil(edges.high / interval)
    points: Floats = np.arange(first, last + 1, dtype=np.float64) * interval
    if isinstance(mechanism, Laplace):
        curve = _laplace_hockey_stick(points, 1 / mechanism.noise_multiplier)
        losses = _connect(first, curve, interval)
        return StepLosses(present=losses, absent=losses, num_steps=mechanism.num_steps)
    sigma, rate, num_steps = _as_sampled(mechanism)
    present = _connect(first, _hockey_stick(points, sigma, rate), interval)
    absent = _connect(-last, _swapped_hockey_stick(-points[::-1], sigma, rate), interval)
    return StepLosses(present=present, absent=absent, num_steps=num_steps)


def _connect(first: int, curve: Floats, interval: float) -> LossDistribution:
    """Join the points of a curve delta(exp(loss)) by straight lines, and read off the losses of that curve.

    The line before the first point starts at delta(t = 0) = 1 and the curve stays level after the last
    point, both above the true curve.
    """
    slopes = np.diff(curve)
    masses = np.zeros_like(curve)
    masses[:-1] += slopes / math.expm1(interval)
    masses[1:] += slopes / math.expm1(-interval)
    masses[0] += 1 - curve[0]
    return LossDistribution(first=first, probabilities=masses, infinite=float(curve[-1]))


def _discrete_laplace(loss: float, interval: float, finest: float) -> LossDistribution:
    """Divide each of the two losses, rounded up as the claim does, among its two neighbours on the grid.

    Joining the points of a curve does the same to a single loss; this does it without differences of nearly
    equal numbers. Both the probability and that of the other distribution, exp(-loss) times it, are kept.
    """
    rounded = np.array([math.ceil(-loss / finest), math.ceil(loss / finest)]) * finest
    first, last = math.floor(rounded[0] / interval), math.ceil(rounded[1] / interval)
    masses: Floats = np.zeros(last - first + 2)
    for value, probability in zip(rounded, special.expit([-loss, loss]), strict=True):
        index = math.floor(value / interval)
        upper = probability * math.expm1(min(index * interval - value, 0.0)) / math.expm1(-interval)
        masses[index - first : index - first + 2] += probability - upper, upper
    return LossDistribution(first=first, probabilities=masses, infinite=0.0)


@dataclass(frozen=True, kw_only=True)
class LossRange:
    """The losses of one step, with normal noise up to ten standard deviations on either side."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """How far the losses spread."""
        return self.high - self.low


def loss_range(mechanism: Protected) -> LossRange:
    """Return the losses that a grid has to cover."""
    if isinstance(mechanism, Laplace | DiscreteLaplace):
        return LossRange(low=-1 / mechanism.noise_multiplier, high=1 / mechanism.noise_multiplier)
    sigma, rate, _ = _as_sampled(mechanism)
    low, high = (
        float(np.logaddexp(_log_or_minus_infinity(1 - rate), math.log(rate) + (2 * x - 1) / (2 * sigma**2)))
        for x in (-_SIGMAS * sigma, 1 + _SIGMAS * sigma)
    )
    return LossRange(low=low, high=high)


def _as_sampled(mechanism: PoissonGaussian | Gaussian) -> tuple[float, float, int]:
    """Return sigma, rate and steps; steps of a `Gaussian` are one step with their joint sigma, exactly."""
    if isinstance(mechanism, Gaussian):
        return mechanism.noise_multiplier / math.sqrt(mechanism.num_steps), 1.0, 1
    return mechanism.noise_multiplier, float(mechanism.sample_rate), mechanism.num_steps


def _log_or_minus_infinity(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _hockey_stick(losses: Floats, sigma: float, rate: float) -> Floats:
    """Return delta at each loss: probability with the record less exp(loss) times that without.

    With t = exp(loss) and x the output at which the ratio of densities is t:
    rate * P[N(1, sigma) > x] - (t - 1 + rate) * P[N(0, sigma) > x], and 1 - t where no output has that ratio.
    """
    log_excess, output = _output(losses, sigma, rate)
    above = np.exp(math.log(rate) + special.log_ndtr((1 - output) / sigma))
    above -= np.exp(log_excess + special.log_ndtr(-output / sigma))
    return np.where(np.isfinite(output), np.maximum(above, 0.0), -np.expm1(np.minimum(losses, 0.0)))


def _swapped_hockey_stick(losses: Floats, sigma: float, rate: float) -> Floats:
    """Return delta at each loss: probability without the record less exp(loss) times that with it.

    With 1 / t = exp(loss) and x as in `_hockey_stick`:
    ((t - 1 + rate) * P[N(0, sigma) < x] - rate * P[N(1, sigma) < x]) / t, and 0 where no output has that
    ratio. To weigh the other direction's masses with exp(-loss) instead would magnify rounding errors.
    """
    log_excess, output = _output(-losses, sigma, rate)
    below = np.exp(losses + log_excess + special.log_ndtr(output / sigma))
    below -= np.exp(losses + math.log(rate) + special.log_ndtr((output - 1) / sigma))
    return np.where(np.isfinite(output), np.maximum(below, 0.0), 0.0)


def _output(losses: Floats, sigma: float, rate: float) -> tuple[Floats, Floats]:
    """Return log(exp(loss) - 1 + rate), and the output at which the log ratio of densities is the loss.

    Both are minus infinity where every output has a higher ratio.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_excess = losses + np.log1p(-(1 - rate) * np.exp(-losses))
    log_excess = np.where(np.isnan(log_excess), -np.inf, log_excess)
    return log_excess, sigma**2 * (log_excess - math.log(rate)) + 0.5


def _laplace_hockey_stick(losses: Floats, largest: float) -> Floats:
    """Return delta at each loss of Laplace noise whose largest loss is 1 / b.

    Up to the output with loss e, the probabilities are 1 - exp((e - 1/b) / 2) / 2 with the record and
    exp(-(e + 1/b) / 2) / 2 without it.
    """
    between = -np.expm1(np.minimum(losses - largest, 0.0) / 2)
    return np.where(losses >= -largest, between, -np.expm1(np.minimum(losses, 0.0)))
