"""What it costs to release only the best of a random number of runs.

Source: Papernot and Steinke 2022, "Hyperparameter Tuning with Renyi Differential Privacy", Theorems 2
(geometric) and 6 (Poisson), as dp-accounting computes them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from dp_accounting import ComposedDpEvent, DpEvent, SelfComposedDpEvent
from dp_accounting.dp_event import RepeatAndSelectDpEvent
from dp_accounting.rdp import RdpAccountant

from common.errors import ConfigError
from common.privacy.accounting import ADJACENCY, event_of
from common.privacy.mechanisms import Mechanism, merge
from common.privacy.noise import accountable
from common.privacy.renyi import WHOLE_ORDERS

Distribution = Literal["poisson", "geometric"]

MOST_MEAN = 1000.0
_SHAPES: dict[Distribution, float] = {"poisson": math.inf, "geometric": 1.0}


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """From what the number of runs is drawn; it must stay secret.

    Args:
        distribution: `poisson`, which may give none at all, or `geometric`, which gives at least one.
        mean: from 1 to 1000.

    Raises:
        ConfigError: when the mean is out of range.
    """

    distribution: Distribution
    mean: float

    def __post_init__(self) -> None:
        if not 1 <= self.mean <= MOST_MEAN:
            raise ConfigError(
                f"a mean of {self.mean:g} trials is not permitted: give a number at least 1 and at most "
                f"{MOST_MEAN:g}"
            )

    def draw(self, source: random.Random) -> int:
        """Draw a number of runs.

        Args:
            source: `random.SystemRandom()`, which nobody can predict; a seeded one is for tests.
        """
        return (
            _poisson(self.mean, source) if self.distribution == "poisson" else _geometric(self.mean, source)
        )


def epsilon_of_selection(mechanisms: Iterable[Mechanism], delta: float, repeats: Repeats) -> float:
    """Return the epsilon of releasing one run, the best of a random number of runs that cost the same.

    Only whole Renyi orders are asked, at which dp-accounting's divergence of sampled Gaussian noise is exact.

    Args:
        mechanisms: what one run charges a client's data, the same whatever its settings.
        delta: in (0, 1).
        repeats: from what the number of runs was drawn.

    Returns:
        0.0 for an empty history, infinity if it holds training without noise.

    Privacy: against whoever sees the released run and nothing else: neither other runs nor how many there
        were. Each run draws its settings uniformly at random, with settings chosen beforehand, and the best
        is the greatest in an order of outputs that does not depend on the data.
    """
    protected = accountable(merge(mechanisms))
    if not protected:
        return math.inf if protected is None else 0.0
    parts: list[DpEvent] = [SelfComposedDpEvent(event_of(one), one.num_steps) for one in protected]
    accountant = RdpAccountant(list(WHOLE_ORDERS), ADJACENCY)
    shape = _SHAPES[repeats.distribution]
    accountant.compose(RepeatAndSelectDpEvent(ComposedDpEvent(parts), repeats.mean, shape))
    return float(accountant.get_epsilon(delta))


def _poisson(mean: float, source: random.Random) -> int:
    """Count the arrivals of a process of rate 1 up to time `mean`."""
    number, time = 0, source.expovariate(1.0)
    while time <= mean:
        number += 1
        time += source.expovariate(1.0)
    return number


def _geometric(mean: float, source: random.Random) -> int:
    number = 1
    while source.random() >= 1 / mean:
        number += 1
    return number
