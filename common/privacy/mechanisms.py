"""The mechanisms a client may run on its records, and their form in a ledger.

A history is a sequence of these; every epsilon is computed from it at the moment someone asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from common.errors import ConfigError, LedgerError
from common.privacy.decimals import decimal_text, parse_decimal

MAX_INTEGER = 2**53 - 1
"""Largest integer that RFC 8785 can write without loss."""


def _check_steps(num_steps: int) -> None:
    if isinstance(num_steps, bool) or not isinstance(num_steps, int) or not 1 <= num_steps <= MAX_INTEGER:
        raise ConfigError(f"num_steps is {num_steps!r}, permitted is a whole number of at least 1")


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
        sigma, rate = self.noise_multiplier, self.sample_rate
        if not (math.isfinite(sigma) and sigma > 0):
            raise ConfigError(f"noise_multiplier is {sigma!r}, permitted is a finite number above 0")
        if not isinstance(rate, Fraction) or not 0 < rate <= 1:
            raise ConfigError(f"sample_rate is {rate!r}, permitted is a Fraction above 0 and at most 1")
        if rate.denominator > MAX_INTEGER:
            raise ConfigError(
                f"sample_rate {float(rate):.6g} has the denominator {rate.denominator}, permitted is at most "
                f"{MAX_INTEGER}: give it as a ratio of whole numbers, such as Fraction('0.2')"
            )
        _check_steps(self.num_steps)


@dataclass(frozen=True, kw_only=True)
class Unprotected:
    """Training without noise: its epsilon is infinite, and so is that of every history that holds it.

    Raises:
        ConfigError: when `num_steps` is below 1.
    """

    num_steps: int

    def __post_init__(self) -> None:
        _check_steps(self.num_steps)


Mechanism = PoissonGaussian | Unprotected

_POISSON_GAUSSIAN = "poisson-gaussian"
_UNPROTECTED = "unprotected"


def to_json(mechanism: Mechanism) -> dict[str, Any]:
    """Give a mechanism its form in a ledger: decimal strings and integers, never a float."""
    if isinstance(mechanism, Unprotected):
        return {"type": _UNPROTECTED, "steps": mechanism.num_steps}
    rate = mechanism.sample_rate
    return {
        "type": _POISSON_GAUSSIAN,
        "noise_multiplier": decimal_text(mechanism.noise_multiplier),
        "sample_rate": [rate.numerator, rate.denominator],
        "steps": mechanism.num_steps,
    }


def from_json(value: object) -> Mechanism:
    """Read what `to_json` wrote, and nothing else.

    Raises:
        LedgerError: naming the field that is missing, unknown or out of range.
    """
    if not isinstance(value, Mapping):
        raise LedgerError(f"a mechanism is {type(value).__name__}, permitted is an object")
    kind = value.get("type")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise LedgerError(
            f"mechanism type is {kind!r:.60}, permitted is one of {', '.join(sorted(_READERS))}"
        )
    try:
        mechanism = read(value)
    except ConfigError as error:
        raise LedgerError(f"mechanism {kind}: {error}") from error
    if unknown := sorted(map(str, set(value) - set(to_json(mechanism)))):
        raise LedgerError(f"mechanism {kind} has the unknown field {unknown[0]!r:.60}")
    return mechanism


def _read_poisson_gaussian(value: Mapping[str, Any]) -> PoissonGaussian:
    return PoissonGaussian(
        noise_multiplier=_read_sigma(value), sample_rate=_read_rate(value), num_steps=_read_steps(value)
    )


def _read_unprotected(value: Mapping[str, Any]) -> Unprotected:
    return Unprotected(num_steps=_read_steps(value))


_READERS: dict[str, Callable[[Mapping[str, Any]], Mechanism]] = {
    _POISSON_GAUSSIAN: _read_poisson_gaussian,
    _UNPROTECTED: _read_unprotected,
}


def _read_sigma(value: Mapping[str, Any]) -> float:
    try:
        return parse_decimal(value.get("noise_multiplier"))
    except ValueError as error:
        raise LedgerError(f"mechanism field noise_multiplier: {error}") from error


def _read_steps(value: Mapping[str, Any]) -> int:
    steps = value.get("steps")
    if type(steps) is not int:
        raise LedgerError(
            f"mechanism field steps is {steps!r:.60}, permitted is a whole number of at least 1"
        )
    return steps


def _read_rate(value: Mapping[str, Any]) -> Fraction:
    parts = value.get("sample_rate")
    if not isinstance(parts, list) or len(parts) != 2 or any(type(part) is not int for part in parts):
        raise LedgerError(
            f"mechanism field sample_rate is {parts!r:.60}, permitted is [numerator, denominator]"
        )
    numerator, denominator = parts
    if denominator < 1 or math.gcd(numerator, denominator) != 1:
        raise LedgerError(
            f"mechanism field sample_rate is {parts!r:.60}, permitted is a fraction in lowest terms"
        )
    return Fraction(numerator, denominator)


def merge(mechanisms: Iterable[Mechanism]) -> tuple[Mechanism, ...]:
    """Join the steps of equal mechanisms: the same cost in fewer terms, in one fixed order.

    Returns:
        One `PoissonGaussian` for each (noise_multiplier, sample_rate), ascending, then any `Unprotected`.
    """
    steps: dict[tuple[float, Fraction], int] = {}
    unprotected = 0
    for mechanism in mechanisms:
        if isinstance(mechanism, Unprotected):
            unprotected += mechanism.num_steps
        else:
            key = (float(mechanism.noise_multiplier), mechanism.sample_rate)
            steps[key] = steps.get(key, 0) + mechanism.num_steps
    merged: tuple[Mechanism, ...] = tuple(
        PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, num_steps=steps[sigma, rate])
        for sigma, rate in sorted(steps)
    )
    return merged + ((Unprotected(num_steps=unprotected),) if unprotected else ())
