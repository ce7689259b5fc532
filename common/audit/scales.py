"""Scales of charts: from values to positions, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear scale from values to one direction of the drawing.

    Args:
        low: value at `start`.
        high: value at `stop`; above `low`.
        start: drawing position in pixels.
        stop: drawing position in pixels; below `start` for an upward axis.
    """

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Return the position of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 2)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The range of an axis, its ticks, and how to write them.

    Args:
        label: name of what is measured.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    text: Callable[[float], str]
    label: str


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from at most `low` to at least `high`, about `most` of them."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low, low + 1.0]
    raw = span / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def whole_numbers(last: float, label: str) -> Scale:
    """Scale from 0 to `last` with ticks at whole numbers only, as for rounds."""
    marks = tuple(tick for tick in ticks(0.0, last, 7) if tick <= last and tick == int(tick))
    return Scale(low=0.0, high=max(last, 1.0), ticks=marks, text=lambda value: f"{value:,.0f}", label=label)


def from_zero(largest: float, label: str, text: Callable[[float], str]) -> Scale:
    """Scale from 0 to a round number of at least `largest`."""
    marks = ticks(0.0, largest)
    return Scale(low=marks[0], high=marks[-1], ticks=tuple(marks), text=text, label=label)


def powers_of_ten(smallest: float, largest: float, label: str) -> Scale:
    """Scale of decimal logarithms: a value v stands at log10(v), its tick reads 1e-5.

    Args:
        smallest: above 0.
        largest: above `smallest`.
    """
    low, high = math.floor(math.log10(smallest)), math.ceil(math.log10(largest))
    marks = tuple(float(power) for power in range(low, high + 1))
    return Scale(low=low, high=high, ticks=marks, text=lambda power: f"1e{power:.0f}", label=label)
