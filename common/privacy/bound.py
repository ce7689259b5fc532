"""A fast upper bound on epsilon, for searches that would ask the accountant thousands of times.

The accountant behind the claim, dp-accounting's, takes 0.2 to 0.7 seconds for one mechanism at its finest
interval. This is the same computation ("connect the dots", then a Fourier transform) done for the
mechanisms of a ledger with whole arrays at a time, at an interval as coarse as the wanted precision allows:
milliseconds.

Why it may stand in for the claim. The curve delta(epsilon) of a mechanism is convex in t = exp(epsilon).
Joining its points at multiples of an interval by straight lines gives a curve above it, hence a pair of
distributions that dominates it, also under composition. A grid that contains another grid's points gives
lines that lie below the other's. So with an interval that is a whole multiple of the claim's own, this bound
is never below the claim, beyond rounding in the last digits, for which callers leave `SLACK`. (The claim
rounds the two losses of discrete Laplace noise up to its own grid; so does the bound, before all else.)

Source: Doroshenko et al. 2022, "Connect the Dots", section 4; Koskela et al. 2020, Algorithm 1 (transform).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import fft, special

from common.privacy.losses import DOUBLINGS, Floats, LossDistribution, discretise, loss_range
from common.privacy.noise import DiscreteLaplace, Gaussian, Laplace, PoissonGaussian, Protected

FINEST_INTERVAL = 1e-4
"""Interval of the claim, save where that would take gigabytes (`claim_interval`)."""

SLACK = 1e-6
"""Share of a budget that callers leave free for rounding errors."""

BOUND_PRECISION = 2e-4
"""Share of an epsilon by which a bound may lie above the claim, in calibration and in every decision."""

_TAIL = 1e-7
_ROUNDING = 1e-14
_MOST_MULTIPLE = 1000
_MOST_POINTS = 2**18


def epsilon_bound(mechanisms: Sequence[Protected], delta: float, *, precision: float) -> float:
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


def claim_interval(mechanisms: Sequence[Protected]) -> float:
    """Return the interval of the claim: 1e-4, doubled until the losses need a bearable number of points.

    That is a quarter of a million for one step and four million for the sum. It takes noise multipliers
    below 0.5, or epsilons above 300, to need more than 1e-4.
    """
    one_step = max(loss_range(mechanism).width for mechanism in mechanisms)
    total = gaussian_estimate(mechanisms, 1e-15)
    wanted = max(one_step / _MOST_POINTS, total / (16 * _MOST_POINTS), FINEST_INTERVAL)
    return float(FINEST_INTERVAL * 2 ** math.ceil(math.log2(wanted / FINEST_INTERVAL)))


def gaussian_estimate(mechanisms: Sequence[Protected], delta: float) -> float:
    """Estimate epsilon by the central limit theorem: no bound, but right within some tens of per cent.

    Source: Bu, Dong, Long, Su 2020, "Deep Learning with Gaussian Differential Privacy", Corollary 4.
    """
    square = sum(central_limit_square(mechanism) for mechanism in mechanisms)
    return square / 2 + abs(float(special.ndtri(delta))) * math.sqrt(square)


def central_limit_square(mechanism: Protected) -> float:
    """Return mu squared of the Gaussian mechanism that many small steps come close to.

    Without sampling that is twice the mean of the losses.
    """
    noise, num_steps = mechanism.noise_multiplier, mechanism.num_steps
    if isinstance(mechanism, Laplace):
        return 2 * num_steps * (1 / noise + math.expm1(-1 / noise))
    if isinstance(mechanism, DiscreteLaplace):
        return 2 * num_steps / noise * math.tanh(0.5 / noise)
    rate = float(mechanism.sample_rate) if isinstance(mechanism, PoissonGaussian) else 1.0
    return num_steps * min(rate**2 * math.expm1(min(noise**-2, 60.0)), noise**-2)


def _error_growth(mechanisms: Sequence[Protected], delta: float) -> float:
    """Estimate how the bound's excess over the true epsilon grows with the square of the interval.

    Joining two neighbouring points adds a sixth of the interval's square to the variance of a step's loss
    on average. A sum of losses close to normal, with standard deviation mu and the quantile z of delta,
    turns more variance w into (1/2 + z/mu) w / 2 more epsilon, and into w / 2 more of the mean.

    Only normal noise makes a sum smooth. Laplace noise gives single losses a probability of their own, near
    which the excess grows with the interval itself: alone, it is left to the finest interval.
    """
    smooth = sum(central_limit_square(m) for m in mechanisms if isinstance(m, PoissonGaussian | Gaussian))
    if smooth == 0:
        return math.inf
    steepness = 1.5 + abs(float(special.ndtri(delta))) / math.sqrt(smooth)
    return sum(1 if isinstance(m, Gaussian) else m.num_steps for m in mechanisms) * steepness / 12


def _multiple(error: float, growth: float, finest: float) -> int:
    """Choose the largest multiple of the finest interval with growth * interval squared at most the error."""
    return min(max(math.floor(math.sqrt(error / growth) / finest), 1), _MOST_MULTIPLE)


def epsilon_at_interval(mechanisms: Sequence[Protected], delta: float, *, interval: float) -> float:
    """Return an upper bound on the epsilon of a history, computed on multiples of one interval.

    Args:
        mechanisms: the history; join equal ones first (`merge`), the cost grows with their number.
        delta: in (0, 1).
        interval: distance of two neighbouring losses, in nats.
    """
    finest = claim_interval(mechanisms)
    pairs = [discretise(mechanism, interval, finest=finest) for mechanism in mechanisms]
    steps = [pair.num_steps for pair in pairs]
    present = _compose([pair.present for pair in pairs], steps, interval, _TAIL * delta)
    absent = _compose([pair.absent for pair in pairs], steps, interval, _TAIL * delta)
    return max(present.epsilon(delta, interval), absent.epsilon(delta, interval))


def _compose(
    parts: Sequence[LossDistribution], steps: Sequence[int], interval: float, tail: float
) -> LossDistribution:
    """Add up the losses of every step of every part; the mass outside the window counts as infinite.

    So does a little more than the accountant itself cuts off and loses to rounding with each part.
    """
    start = sum(part.first * count for part, count in zip(parts, steps, strict=True))
    low, high = _window(parts, steps, interval, tail)
    length = fft.next_fast_len(max(high - low + 1, *(len(part.probabilities) for part in parts)), real=True)
    spectrum = np.ones(length // 2 + 1, dtype=np.complex128)
    for part, count in zip(parts, steps, strict=True):
        spectrum *= fft.rfft(part.probabilities, length) ** count
    total = np.roll(fft.irfft(spectrum, length), -((low - start) % length))[: high - low + 1]
    finite = sum(count * math.log1p(-part.infinite) for part, count in zip(parts, steps, strict=True))
    return LossDistribution(
        first=low, probabilities=total, infinite=-math.expm1(finite) + 2 * tail + _ROUNDING * len(parts)
    )


def _window(
    parts: Sequence[LossDistribution], steps: Sequence[int], interval: float, tail: float
) -> tuple[int, int]:
    """Bound the sum of the losses on both sides by Chernoff's inequality, each with probability `tail`."""
    variance = 0.0
    for part, count in zip(parts, steps, strict=True):
        losses = (part.first + np.arange(len(part.probabilities))) * interval
        mean = float(np.sum(part.probabilities * losses))
        variance += count * max(float(np.sum(part.probabilities * (losses - mean) ** 2)), interval**2 * 1e-9)
    order = math.sqrt(-2 * math.log(tail) / variance) / DOUBLINGS[-1]
    start = sum(part.first * count for part, count in zip(parts, steps, strict=True))
    stop = sum((part.first + len(part.probabilities) - 1) * n for part, n in zip(parts, steps, strict=True))
    low = max(start, float(np.max(_chernoff(parts, steps, interval, -order, tail))) / interval)
    high = min(stop, float(np.min(_chernoff(parts, steps, interval, order, tail))) / interval)
    return math.floor(low), math.ceil(high)


def _chernoff(
    parts: Sequence[LossDistribution], steps: Sequence[int], interval: float, order: float, tail: float
) -> Floats:
    """Return limits that the sum of the losses passes with probability `tail`, one for each doubling."""
    cumulants = [count * part.cumulants(order, interval) for part, count in zip(parts, steps, strict=True)]
    return np.asarray((np.sum(cumulants, axis=0) - math.log(tail)) / (order * DOUBLINGS))
