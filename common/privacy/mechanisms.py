"""The mechanisms a client may run on its records, and their form in a ledger.

A history is a sequence of these; every epsilon is computed from it at the moment someone asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from common.errors import ConfigError, LedgerError
from common.privacy.decimals import decimal_text, parse_decimal
from common.privacy.noise import (
    MAX_INTEGER,
    DiscreteLaplace,
    Gaussian,
    Laplace,
    PoissonGaussian,
    Protected,
    Setting,
    Unprotected,
)

__all__ = [
    "MAX_INTEGER",
    "DiscreteLaplace",
    "Gaussian",
    "Laplace",
    "Mechanism",
    "PoissonGaussian",
    "Protected",
    "Unprotected",
    "from_json",
    "merge",
    "to_json",
]

Mechanism = PoissonGaussian | Gaussian | Laplace | DiscreteLaplace | Unprotected

_POISSON_GAUSSIAN = "poisson-gaussian"
_UNPROTECTED = "unprotected"
_ADDITIVE: dict[str, type[Gaussian | Laplace | DiscreteLaplace]] = {
    "gaussian": Gaussian,
    "laplace": Laplace,
    "discrete-laplace": DiscreteLaplace,
}
_ADDITIVE_NAMES = {kind: name for name, kind in _ADDITIVE.items()}


def to_json(mechanism: Mechanism) -> dict[str, Any]:
    """Give a mechanism its form in a ledger: decimal strings and integers, never a float."""
    if isinstance(mechanism, Unprotected):
        return {"type": _UNPROTECTED, "steps": mechanism.num_steps}
    value: dict[str, Any] = {"noise_multiplier": decimal_text(mechanism.noise_multiplier)}
    if isinstance(mechanism, PoissonGaussian):
        value |= {"type": _POISSON_GAUSSIAN, "sample_rate": list(mechanism.sample_rate.as_integer_ratio())}
    else:
        value |= {"type": _ADDITIVE_NAMES[type(mechanism)]}
    return value | {"steps": mechanism.num_steps}


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
        noise_multiplier=_read_noise(value), sample_rate=_read_rate(value), num_steps=_read_steps(value)
    )


def _read_additive(value: Mapping[str, Any]) -> Mechanism:
    kind = _ADDITIVE[value["type"]]
    return kind(noise_multiplier=_read_noise(value), num_steps=_read_steps(value))


def _read_unprotected(value: Mapping[str, Any]) -> Unprotected:
    return Unprotected(num_steps=_read_steps(value))


_READERS: dict[str, Callable[[Mapping[str, Any]], Mechanism]] = {
    _POISSON_GAUSSIAN: _read_poisson_gaussian,
    _UNPROTECTED: _read_unprotected,
    **dict.fromkeys(_ADDITIVE, _read_additive),
}


def _read_noise(value: Mapping[str, Any]) -> float:
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

    Audits call this with hundreds of entries for every round of every client, so equality is decided on
    `setting`, whose numbers hash ten times as fast as a `Fraction`.

    Returns:
        One `PoissonGaussian` for each (noise_multiplier, sample_rate), ascending, then one `Gaussian`,
        `Laplace` and `DiscreteLaplace` for each noise multiplier, ascending, then any `Unprotected`.
    """
    steps: dict[Setting, int] = {}
    examples: dict[Setting, Mechanism] = {}
    for mechanism in mechanisms:
        setting = mechanism.setting
        if setting in steps:
            steps[setting] += mechanism.num_steps
        else:
            steps[setting], examples[setting] = mechanism.num_steps, mechanism
    return tuple(_with_steps(examples[setting], steps[setting]) for setting in sorted(steps))


def _with_steps(mechanism: Mechanism, num_steps: int) -> Mechanism:
    return mechanism if mechanism.num_steps == num_steps else replace(mechanism, num_steps=num_steps)
