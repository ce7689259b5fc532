"""A fast upper bound on epsilon, for searches that would ask the accountant thousands of times.

The accountant behind the claim, dp-accounting's, takes 0.2 to 0.7 seconds for one mechanism at its finest
interval. This is the same computation ("connect the dots", then a Fourier transform) done for one family of
mechanisms with whole arrays at a time, at an interval as coarse as the wanted precision allows: milliseconds.

Why it may stand in for the claim. The curve delta(epsilon) of a mechanism is convex in t = exp(epsilon).
Joining its points at multiples of an interval by straight lines gives a curve above it, hence a pair of
distributions that dominates it, also under composition. A grid that contains another grid's points gives
lines that lie below the other's. So with an interval that is a whole multiple of the claim's own, this bound
is never below the claim, beyond rounding in the last digits, for which callers leave `SLACK`.

Source: Doroshenko et al. 2022, "Connect the Dots", section 4; Koskela et al. 2020, Algorithm 1 (transform).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from common.privacy.mechanisms import PoissonGaussian

FINEST_INTERVAL = 1e-4
"""Interval of the claim, save where that would take gigabytes (`claim_interval`)."""

SLACK = 1e-6
"""Share of a budget that callers leave free for rounding errors."""

BOUND_PRECISION = 2e-4
"""Share of an epsilon by which a bound may lie above the claim, in calibration and in every decision."""

_TAIL = 1e-7
_ROUNDING = 1e-14
_SIGMAS = 10.0
_MOST_MULTIPLE = 1000
_MOST_POINTS = 2**18
_NEGLIGIBLE = 1e-150
_DOUBLINGS = 2.0 ** np.arange(6)

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _LossDistribution:
    """Probabilities [k] of the privacy losses (first + i) * interval, and of an infinite loss."""

    first: int
    probabilities: Floats
    infinite: float

    def cumulants(self, order: float, interval: float) -> Floats:
        """Return log E[exp(k * order * loss)] over the finite losses for k = 1, 2, 4, ..., 32.

        Doubling an order squares the exponentials, which costs far less than new ones, unless they become
        subnormal: those are too small to count.
        """
        exponents = (self.first + np.arange(len(self.probabilities))) * (interval * order)
        largest = float(exponents.max())
        powers, masses = np.exp(exponents - largest), np.maximum(self.probabilities, 0.0)
        moments = [float(np.sum(powers * masses))]
        for _ in _DOUBLINGS[1:]:
            powers[powers < _NEGLIGIBLE] = 0.0
            powers *= powers
            moments.append(float(np.sum(powers * masses)))
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(moments) + _DOUBLINGS * largest)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """The losses of one mechanism when the record is present, and when it is zeroed out."""

    present: _LossDistribution
    absent: _LossDistribution
    num_steps: int


def epsilon_bound(mechanisms: Sequence[PoissonGaussian], delta: float, *, precision: float) -> float:
    """Return an upper bound on the epsilon of a history, too high by about `precision` of itself at most.

    Args:
        mechanisms: the history; join equal ones first (`merge`), the cost grows with their number.
        delta: in (0, 1).
        precision: above 0, such as 5e-4; the error of the claim's own interval is not undercut.
    """
    if not mechanisms:
        return 0.0
    finest = claim_interval(mechanisms)
    growth = _error_growth(mechanisms, delta)
    multiple = _multiple(precision * gaussian_estimate(mechanisms, delta), growth, finest)
    epsilon = epsilon_at_interval(mechanisms, delta, interval=multiple * finest)
    while math.isfinite(epsilon):
        finer = _multiple(precision * epsilon, growth, finest)
        if multiple <= 1.2 * finer:
            break
        multiple = finer
        epsilon = epsilon_at_interval(mechanisms, delta, interval=multiple * finest)
    return epsilon


def claim_interval(mechanisms: Sequence[PoissonGaussian]) -> float:
    """Return the interval of the claim: 1e-4, doubled until the losses need a bearable number of points.

    That is a quarter of a million for one step and four million for the sum. It takes noise multipliers
    below 0.5, or epsilons above 300, to need more than 1e-4.
    """
    one_step = max(_loss_range(m.noise_multiplier, float(m.sample_rate)).width for m in mechanisms)
    total = gaussian_estimate(mechanisms, 1e-15)
    wanted = max(one_step / _MOST_POINTS, total / (16 * _MOST_POINTS), FINEST_INTERVAL)
    return float(FINEST_INTERVAL * 2 ** math.ceil(math.log2(wanted / FINEST_INTERVAL)))


def gaussian_estimate(mechanisms: Sequence[PoissonGaussian], delta: float) -> float:
    """Estimate epsilon by the central limit theorem: no bound, but right within some tens of per cent.

    Source: Bu, Dong, Long, Su 2020, "Deep Learning with Gaussian Differential Privacy", Corollary 4.
    """
    square = sum(central_limit_square(m.noise_multiplier, m.sample_rate, m.num_steps) for m in mechanisms)
    return square / 2 + abs(float(special.ndtri(delta))) * math.sqrt(square)


def central_limit_square(noise_multiplier: float, sample_rate: Fraction, num_steps: int) -> float:
    """Return mu squared of the Gaussian mechanism that many small steps come close to."""
    amplified = float(sample_rate) ** 2 * math.expm1(min(noise_multiplier**-2, 60.0))
    return num_steps * min(amplified, noise_multiplier**-2)


def _error_growth(mechanisms: Sequence[PoissonGaussian], delta: float) -> float:
    """Estimate how the bound's excess over the true epsilon grows with the square of the interval.

    Joining two neighbouring points adds a sixth of the interval's square to the variance of a step's loss
    on average. A sum of losses close to normal, with standard deviation mu and the quantile z of delta,
    turns more variance w into (1/2 + z/mu) w / 2 more epsilon, and into w / 2 more of the mean.
    """
    square = sum(central_limit_square(m.noise_multiplier, m.sample_rate, m.num_steps) for m in mechanisms)
    steepness = 1.5 + abs(float(special.ndtri(delta))) / math.sqrt(square)
    return sum(mechanism.num_steps for mechanism in mechanisms) * steepness / 12


def _multiple(error: float, growth: float, finest: float) -> int:
    """Choose the largest multiple of the finest interval with growth * interval squared at most the error."""
    return min(max(math.floor(math.sqrt(error / growth) / finest), 1), _MOST_MULTIPLE)


def epsilon_at_interval(mechanisms: Sequence[PoissonGaussian], delta: float, *, interval: float) -> float:
    """Return an upper bound on the epsilon of a history, computed on multiples of one interval.

    Args:
        mechanisms: the history; join equal ones first (`merge`), the cost grows with their number.
        delta: in (0, 1).
        interval: distance of two neighbouring losses, in nats.
    """
    pairs = [_discretise(mechanism, interval) for mechanism in mechanisms]
    steps = [pair.num_steps for pair in pairs]
    present = _compose([pair.present for pair in pairs], steps, interval, _TAIL * delta)
    absent = _compose([pair.absent for pair in pairs], steps, interval, _TAIL * delta)
    return max(_epsilon_at(present, delta, interval), _epsilon_at(absent, delta, interval))


def _discretise(mechanism: PoissonGaussian, interval: float) -> _Pair:
    """Replace the pair of distributions of one step by a dominating pair on multiples of the interval.

    The line before the first point starts at delta(t = 0) = 1 and the curve stays level after the last
    point, both above the true curve. Swapping the pair mirrors the losses and weighs each with exp(-loss);
    what the first line cuts off, at most the tail beyond ten standard deviations, becomes an infinite loss.
    """
    sigma, rate = mechanism.noise_multiplier, float(mechanism.sample_rate)
    edges = _loss_range(sigma, rate)
    first, last = math.floor(edges.low / interval), math.ceil(edges.high / interval)
    losses: Floats = np.arange(first, last + 1, dtype=np.float64) * interval
    curve = _hockey_stick(losses, sigma, rate)
    slopes = np.diff(curve)
    present = np.zeros_like(curve)
    present[:-1] += slopes / math.expm1(interval)
    present[1:] += slopes / math.expm1(-interval)
    present[0] += 1 - curve[0]
    absent = (present * np.exp(np.minimum(-losses, 700.0)))[::-1]
    return _Pair(
        present=_LossDistribution(first=first, probabilities=present, infinite=float(curve[-1])),
        absent=_LossDistribution(first=-last, probabilities=absent, infinite=float(special.ndtr(-_SIGMAS))),
        num_steps=mechanism.num_steps,
    )


@dataclass(frozen=True, kw_only=True)
class _LossRange:
    """The losses of one step between ten standard deviations of noise on either side."""

    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low


def _loss_range(sigma: float, rate: float) -> _LossRange:
    low, high = (
        float(np.logaddexp(_log_or_minus_infinity(1 - rate), math.log(rate) + (2 * x - 1) / (2 * sigma**2)))
        for x in (-_SIGMAS * sigma, 1 + _SIGMAS * sigma)
    )
    return _LossRange(low=low, high=high)


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


def _compose(
    parts: Sequence[_LossDistribution], steps: Sequence[int], interval: float, tail: float
) -> _LossDistribution:
    """Add up the losses of every step of every part; the mass outside the window counts as infinite.

    So does a little more than the accountant itself cuts off and loses to rounding.
    """
    start = sum(part.first * count for part, count in zip(parts, steps, strict=True))
    stop = sum((part.first + len(part.probabilities) - 1) * n for part, n in zip(parts, steps, strict=True))
    low, high = _window(parts, steps, interval, tail)
    low, high = max(low, start), min(high, stop)
    length = fft.next_fast_len(max(high - low + 1, *(len(part.probabilities) for part in parts)), real=True)
    spectrum = np.ones(length // 2 + 1, dtype=np.complex128)
    for part, count in zip(parts, steps, strict=True):
        spectrum *= fft.rfft(part.probabilities, length) ** count
    total = np.roll(fft.irfft(spectrum, length), -((low - start) % length))[: high - low + 1]
    finite = sum(count * math.log1p(-part.infinite) for part, count in zip(parts, steps, strict=True))
    return _LossDistribution(
        first=low, probabilities=total, infinite=-math.expm1(finite) + 2 * tail + _ROUNDING
    )


def _window(
    parts: Sequence[_LossDistribution], steps: Sequence[int], interval: float, tail: float
) -> tuple[int, int]:
    """Bound the sum of the losses on both sides by Chernoff's inequality, each with probability `tail`."""
    variance = 0.0
    for part, count in zip(parts, steps, strict=True):
        losses = (part.first + np.arange(len(part.probabilities))) * interval
        mean = float(np.sum(part.probabilities * losses))
        variance += count * max(float(np.sum(part.probabilities * (losses - mean) ** 2)), interval**2 * 1e-9)
    order = math.sqrt(-2 * math.log(tail) / variance) / _DOUBLINGS[-1]
    high = np.min(_chernoff(parts, steps, interval, order, tail))
    low = np.max(_chernoff(parts, steps, interval, -order, tail))
    return math.floor(low / interval), math.ceil(high / interval)


def _chernoff(
    parts: Sequence[_LossDistribution], steps: Sequence[int], interval: float, order: float, tail: float
) -> Floats:
    """Return limits that the sum of the losses passes with probability `tail`, one for each doubling."""
    cumulants = [count * part.cumulants(order, interval) for part, count in zip(parts, steps, strict=True)]
    return np.asarray((np.sum(cumulants, axis=0) - math.log(tail)) / (order * _DOUBLINGS))


def _epsilon_at(total: _LossDistribution, delta: float, interval: float) -> float:
    """Return the smallest epsilon >= 0 at which the curve of the composed losses is at most delta.

    The curve is infinite + sum over losses above epsilon of p * (1 - exp(epsilon - loss)); between two
    neighbouring losses it is solved for epsilon directly.
    """
    if total.infinite > delta:
        return math.inf
    losses = (total.first + np.arange(len(total.probabilities))) * interval
    losses, masses = losses[losses > 0], np.maximum(total.probabilities[losses > 0], 0.0)
    mass = total.infinite + np.cumsum(masses[::-1])[::-1]
    with np.errstate(divide="ignore"):
        log_weighted = np.logaddexp.accumulate((np.log(masses) - losses)[::-1])[::-1]
    too_much = np.flatnonzero(mass - np.exp(losses + log_weighted) > delta)
    index = int(too_much[-1]) + 1 if len(too_much) else 0
    if index == len(losses) or mass[index] <= delta:
        return float(losses[index - 1]) if index else 0.0
    return max(0.0, math.log(mass[index] - delta) - float(log_weighted[index]))
