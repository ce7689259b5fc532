"""What a client may run on its records: each kind of noise, and how strong it is.

Privacy: one record of one client, zero-out adjacency. Each noise multiplier is relative to how far that one
record can move the released value; whoever runs the mechanism bounds this by clipping or by counting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from common.errors import ConfigError

MAX_INTEGER = 2**53 - 1
"""Largest integer that RFC 8785 can write without loss."""

Setting = tuple[float, ...]
"""All of a mechanism but its steps, in numbers that hash and sort fast, which a `Fraction` does not."""


@dataclass(frozen=True, kw_only=True)
class PoissonGaussian:
    """Noisy gradient sums over batches that hold each record independently with the same probability.

    Source: Abadi et al. 2016, Algorithm 1; Mironov, Talwar, Zhang 2019, section 3.

    Args:
        noise_multiplier: standard deviation of the noise over the clipping norm, above 0.
        sample_rate: probability that a record is in a batch, in (0, 1], exact.
        num_steps: number of noisy sums, at least 1.

    Raises:
        ConfigError: when a value is out of its range.

    Privacy: one record, zero-out adjacency; the batch, its size and its members stay with the client.
    """

    noise_multiplier: float
    sample_rate: Fraction
    num_steps: int

    def __post_init__(self) -> None:
        rate = self.sample_rate
        _check_noise_multiplier(self.noise_multiplier)
        if not isinstance(rate, Fraction) or not 0 < rate <= 1:
            raise ConfigError(f"sample_rate is {rate!r}, permitted is a Fraction above 0 and at most 1")
        if rate.denominator > MAX_INTEGER:
            raise ConfigError(
                f"sample_rate {float(rate):.6g} has the denominator {rate.denominator}, permitted is at most "
                f"{MAX_INTEGER}: give it as a ratio of whole numbers, such as Fraction('0.2')"
            )
        _check_steps(self.num_steps)

    @cached_property
    def setting(self) -> Setting:
        """All but the steps, sorted as (noise multiplier, sample rate)."""
        numerator, denominator = self.sample_rate.as_integer_ratio()
        return 0, float(self.noise_multiplier), numerator / denominator, numerator, denominator

    def __hash__(self) -> int:
        return hash((self.setting, self.num_steps))


@dataclass(frozen=True, kw_only=True)
class _Additive:
    """Noise added to a value that every record always enters."""

    noise_multiplier: float
    num_steps: int

    def __post_init__(self) -> None:
        _check_noise_multiplier(self.noise_multiplier)
        _check_steps(self.num_steps)


@dataclass(frozen=True, kw_only=True)
class Gaussian(_Additive):
    """Normal noise on a vector to which every record contributes.

    Source: Balle and Wang 2018, section 2.

    Args:
        noise_multiplier: standard deviation of the noise over the L2 sensitivity, above 0.
        num_steps: number of releases, at least 1.

    Raises:
        ConfigError: when a value is out of its range.

    Privacy: one record, zero-out adjacency.
    """

    @cached_property
    def setting(self) -> Setting:
        """All but the steps."""
        return 1, float(self.noise_multiplier)


@dataclass(frozen=True, kw_only=True)
class Laplace(_Additive):
    """Double exponential noise on a vector to which every record contributes.

    Source: Dwork, McSherry, Nissim, Smith 2006, Proposition 1.

    Args:
        noise_multiplier: scale b of the density exp(-|x| / b) / (2 b) over the L1 sensitivity, above 0.
        num_steps: number of releases, at least 1.

    Raises:
        ConfigError: when a value is out of its range.

    Privacy: one record, zero-out adjacency; one release alone is (1 / noise_multiplier, 0)-private.
    """

    @cached_property
    def setting(self) -> Setting:
        """All but the steps."""
        return 2, float(self.noise_multiplier)


@dataclass(frozen=True, kw_only=True)
class DiscreteLaplace(_Additive):
    """Two-sided geometric noise on a count that one record changes by at most 1.

    The noise is x with a probability proportional to exp(-|x| / b), for every integer x. Of two neighbouring
    counts the loss is 1/b at and below the lower one and -1/b above it, and nothing in between: the release
    is as private as a randomised response that tells the truth with probability 1 / (1 + exp(-1/b)).

    Source: Ghosh, Roughgarden, Sundararajan 2012, the geometric mechanism with alpha = exp(-1/b).

    Args:
        noise_multiplier: scale b, above 0.
        num_steps: number of counts, at least 1.

    Raises:
        ConfigError: when a value is out of its range.

    Privacy: one record, zero-out adjacency; one count alone is (1 / noise_multiplier, 0)-private.
    """

    @cached_property
    def setting(self) -> Setting:
        """All but the steps."""
        return 3, float(self.noise_multiplier)


@dataclass(frozen=True, kw_only=True)
class Unprotected:
    """Training without noise: its epsilon is infinite, and so is that of every history that holds it.

    Raises:
        ConfigError: when `num_steps` is below 1.
    """

    num_steps: int

    def __post_init__(self) -> None:
        _check_steps(self.num_steps)

    @cached_property
    def setting(self) -> Setting:
        """All but the steps: the last of all."""
        return (4,)


Protected = PoissonGaussian | Gaussian | Laplace | DiscreteLaplace
"""A mechanism whose epsilon is finite."""

LEAST_NOISE, MOST_NOISE = 1e-6, 1e6
"""Noise multipliers between which squares and exponentials neither overflow nor vanish."""


def accountable(mechanisms: Iterable[Protected | Unprotected]) -> tuple[Protected, ...] | None:
    """Return mechanisms whose cost can be computed and is at least that of the given ones, or None.

    None stands for an infinite cost: one of them adds no noise, or less than `LEAST_NOISE`. Noise above
    `MOST_NOISE` counts as that much.
    """
    accounted: list[Protected] = []
    for mechanism in mechanisms:
        if isinstance(mechanism, Unprotected) or mechanism.noise_multiplier < LEAST_NOISE:
            return None
        too_much = mechanism.noise_multiplier > MOST_NOISE
        accounted.append(replace(mechanism, noise_multiplier=MOST_NOISE) if too_much else mechanism)
    return tuple(accounted)


def _check_noise_multiplier(value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"noise_multiplier is {value!r}, permitted is a finite number above 0")


def _check_steps(num_steps: int) -> None:
    if isinstance(num_steps, bool) or not isinstance(num_steps, int) or not 1 <= num_steps <= MAX_INTEGER:
        raise ConfigError(f"num_steps is {num_steps!r}, permitted is a whole number of at least 1")
