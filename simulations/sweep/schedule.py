"""Successive halving: which settings go on after how many rounds.

All settings start, each as a run planned and calibrated for all rounds; after a few rounds the better ones
go on *in the same runs*, and so on until one is left. So what is compared is the noise of the full run, and
no round is paid for twice; a run that is left behind has charged only the rounds that it ran.

Source: Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from common.errors import ConfigError

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Rung:
    """So many settings reach so many rounds, counted from each run's beginning."""

    settings: int
    rounds: int


def rungs(settings: int, rounds: int, keep: int) -> tuple[Rung, ...]:
    """Plan which share goes on when.

    Args:
        settings: how many are compared, at least 2.
        rounds: planned rounds of a full run.
        keep: one in so many goes on, rounded up; 2 or 3.

    Returns:
        From all settings down to one, which runs all rounds.

    Raises:
        ConfigError: when there is nothing to compare, or too few rounds to divide.
    """
    if settings < 2:
        raise ConfigError("--strategy halving needs at least 2 settings to compare: give --over more values")
    sizes = [settings]
    while sizes[-1] > 1:
        sizes.append(math.ceil(sizes[-1] / keep))
    least = keep ** (len(sizes) - 1)
    if rounds < least:
        raise ConfigError(
            f"federation.num-server-rounds = {rounds} cannot be divided for {settings} settings: give at "
            f"least {least}, or fewer settings"
        )
    return tuple(
        Rung(settings=size, rounds=math.ceil(rounds / keep ** (len(sizes) - 1 - number)))
        for number, size in enumerate(sizes)
    )


def best(scores: Mapping[K, float], number: int) -> list[K]:
    """Return the keys with the greatest scores, the greatest first; of equal ones the earlier."""
    return sorted(scores, key=lambda key: -scores[key])[:number]


def mean_scores(accuracies: Mapping[K, Sequence[float | None]]) -> dict[K, float]:
    """Return the mean of each key's accuracies, without keys of which a run gave none."""
    return {
        key: sum(known) / len(known)
        for key, values in accuracies.items()
        if (known := [value for value in values if value is not None]) and len(known) == len(values)
    }
