"""Time several ways of doing one thing side by side: A B C, A B C ..., so that noise strikes all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one way, a value for each turn, in order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the turns, in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles over the median: the noise of the machine."""
        lower, _, upper = statistics.quantiles(self.seconds, n=4)
        return (upper - lower) / 2 / self.median

    def over(self, other: Timing) -> float:
        """Return the median, over turns, of this way's time over the other's in the same turn."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


def in_turn(
    ways: Mapping[str, Callable[[], object]], *, turns: int, calls: int = 1, warm_up: int = 1
) -> dict[str, Timing]:
    """Time each way in each turn.

    Args:
        ways: what to call, by name.
        turns: how often each is timed, at least 2.
        calls: calls in a row that count as one; their mean is noted.
        warm_up: calls of each that are not timed.
    """
    for way in ways.values():
        for _ in range(warm_up):
            way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            began = time.perf_counter()
            for _ in range(calls):
                way()
            seconds[name].append((time.perf_counter() - began) / calls)
    return {name: Timing(seconds=tuple(each)) for name, each in seconds.items()}
