"""Charts of several lines, and on logarithmic scales, in the form of `common.audit.charts`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from markupsafe import Markup

from common.audit.charts import Limit, Point
from common.audit.scales import Axis, Scale
from common.audit.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_STOPS,
    RIGHT,
    TOP,
    chart,
    circle,
    line,
    mark,
    scenery,
    stops,
    text,
)

MOST_SERIES = 6
SERIES_STYLE = Path(__file__).with_name("series.css")
"""The style sheet that tells lines apart."""

_LEGEND_HEIGHT = 26
_LETTER = 7.2
_FACTORS = ((1, 2, 5), (1, 3), (1,))


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line with its name in the legend.

    Args:
        marked: places of points that are drawn larger.
        spans: by place, the least and the greatest of the values that a point is the mean of.
    """

    name: str
    points: tuple[Point, ...]
    marked: frozenset[float] = frozenset()
    spans: Mapping[float, tuple[float, float]] = field(default_factory=dict)


def logarithmic(smallest: float, largest: float, label: str, most: int = 8) -> Scale:
    """Scale of decimal logarithms, on which a value v stands at log10(v), with ticks at round values.

    Args:
        smallest: above 0.
        largest: at least `smallest`.
        most: about how many ticks.
    """
    found = [_round_values(smallest, largest, factors) for factors in _FACTORS]
    values = next((marks for marks in found if len(marks) <= most), found[-1])
    ticks = tuple(math.log10(value) for value in values)
    return Scale(
        low=ticks[0], high=ticks[-1], ticks=ticks, text=lambda power: f"{10**power:,.6g}", label=label
    )


def lines_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    across: Scale,
    up: Scale,
    width: int,
    limit: Limit | None = None,
) -> Markup:
    """Draw lines over one pair of scales, with a legend where there are several.

    Args:
        series: one to six, each with at least one point.
        across: scale of x.
        up: scale of y, which holds the limit too.
        width: of the drawing, in pixels at its natural size.
        limit: height and name of a dashed line, or None.
    """
    x = Axis(low=across.low, high=across.high, start=LEFT, stop=width - RIGHT)
    y = Axis(low=up.low, high=up.high, start=HEIGHT - BOTTOM, stop=TOP)
    behind = [_frame(x, y, across, up)]
    behind += [_path(one, index, x, y) for index, one in enumerate(series)]
    behind += [_spans(one, index, x, y) for index, one in enumerate(series)]
    if limit:
        height = y.at(limit.value)
        behind.append(line("limit", x.start, height, x.stop, height))
        behind.append(text(x.start + 6, height - 6, limit.name, "name", "start"))
    behind += _legend(series, width) if len(series) > 1 else []
    dots = [dot for index, one in enumerate(series) for dot in _dots(one, index, x, y, width)]
    return chart(title, description, width, HEIGHT, [scenery(behind), *dots])


def _round_values(smallest: float, largest: float, factors: Sequence[int]) -> list[float]:
    powers = range(math.floor(math.log10(smallest)) - 1, math.ceil(math.log10(largest)) + 2)
    values = [float(f"{factor}e{power}") for power in powers for factor in factors]
    below = max(value for value in values if value <= smallest * (1 + 1e-9))
    above = min(value for value in values if value >= largest * (1 - 1e-9) and value > below)
    return [value for value in values if below <= value <= above]


def _frame(x: Axis, y: Axis, across: Scale, up: Scale) -> Markup:
    parts = [text(0, 14, up.label, "name", "start")]
    for row in up.ticks:
        parts.append(line("axis" if row == up.low else "grid", x.start, y.at(row), x.stop, y.at(row)))
        parts.append(text(x.start - 8, y.at(row) + 4, up.text(row), "tick", "end"))
    for column in across.ticks:
        place, last = x.at(column), column == across.high
        parts.append(line("axis", place, y.start, place, y.start + 5))
        # The last number would stick out of the drawing.
        end = text(x.stop + RIGHT, y.start + 20, across.text(column), "tick", "end")
        parts.append(end if last else text(place, y.start + 20, across.text(column), "tick"))
    parts.append(text((x.start + x.stop) / 2, HEIGHT - 6, across.label, "name"))
    return Markup("").join(parts)


def _path(series: Series, index: int, x: Axis, y: Axis) -> Markup:
    places = " ".join(f"{x.at(point.x)},{y.at(point.y)}" for point in series.points)
    return Markup('<polyline class="line series-{}" points="{}"/>').format(index, places)


def _spans(series: Series, index: int, x: Axis, y: Axis) -> Markup:
    bars = [
        line(f"span series-{index}", x.at(place), y.at(low), x.at(place), y.at(high))
        for place, (low, high) in series.spans.items()
    ]
    return Markup("").join(bars)


def _dots(series: Series, index: int, x: Axis, y: Axis, width: int) -> list[Markup]:
    crowded = len(series.points) > MOST_STOPS
    css = f"dot small series-{index}" if crowded else f"dot series-{index}"
    reached = stops(len(series.points))
    marks = []
    for number, point in enumerate(series.points):
        radius = 5.5 if point.x in series.marked else 2 if crowded else 3
        dot = circle("band", x.at(point.x), y.at(point.y), 8) + circle(
            css, x.at(point.x), y.at(point.y), radius
        )
        marks.append(mark(point.name, dot, width=width, stop=number in reached))
    return marks


def _legend(series: Sequence[Series], width: int) -> list[Markup]:
    """Name the lines at the right, since rising ones leave the limit's name room at the left."""
    widths = [48 + _LETTER * len(one.name) for one in series]
    starts = accumulate(widths[:-1], initial=width - sum(widths))
    parts = []
    for index, (one, start) in enumerate(zip(series, starts, strict=True)):
        parts.append(line(f"line series-{index}", start, _LEGEND_HEIGHT, start + 26, _LEGEND_HEIGHT))
        parts.append(text(start + 32, _LEGEND_HEIGHT + 4, one.name, "name", "start"))
    return parts
