"""The limit that a client sets on everything its data set will ever release."""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PrivacyBudget:
    """A lifetime limit (epsilon, delta) of one data set.

    Args:
        epsilon: above 0 and finite.
        delta: in (0, 1); hold it against the number of examples with `check_delta`.

    Raises:
        ConfigError: when a value is out of its range.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ConfigError(f"epsilon is {self.epsilon!r}, permitted is a finite number above 0")
        if not 0 < self.delta < 1:
            raise ConfigError(f"delta is {self.delta!r}, permitted is a number between 0 and 1")


def default_delta(num_examples: int) -> float:
    """Return the delta of a data set for which none was set: 1/(10 n), and never more than 1e-5.

    Raises:
        ConfigError: when `num_examples` is below 1.
    """
    _check_num_examples(num_examples)
    return min(1e-5, 1 / (10 * num_examples))


def check_delta(delta: float, num_examples: int) -> None:
    """Refuse a delta above 1/n, at which publishing a whole record at random would count as private.

    Raises:
        ConfigError: when delta is not in (0, 1/n], or `num_examples` is below 1.
    """
    _check_num_examples(num_examples)
    if not 0 < delta <= 1 / num_examples:
        raise ConfigError(
            f"delta is {delta!r}, permitted for {num_examples} examples is above 0 and at most "
            f'1/{num_examples}: set delta = "auto" for {default_delta(num_examples):.3g}'
        )


def _check_num_examples(num_examples: int) -> None:
    if num_examples < 1:
        raise ConfigError(f"the number of examples is {num_examples!r}, permitted is at least 1")
