"""Charts as inline SVG: pure functions from numbers to markup, coloured by the page's style sheet.

Every chart carries a title and a description for screen readers; every mark carries its numbers as its
name. All text is escaped, since client and class names may contain anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markupsafe import Markup

from common.audit.scales import Axis, Scale, from_zero, ticks
from common.audit.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_STOPS,
    RIGHT,
    TOP,
    WIDTH,
    chart,
    circle,
    line,
    mark,
    rectangle,
    scenery,
    stops,
    text,
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a line.

    Args:
        name: what a screen reader says, and what appears when the point is pointed at.
        note: written beside the point; empty for none.
    """

    x: float
    y: float
    name: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A dashed line at a value, with its name written beside it."""

    value: float
    name: str


def spent_bar(value: float, limit: float | None, scale: float, name: str, *, stop: bool = False) -> Markup:
    """Draw one value as a bar against its limit; stretches to the width of its table cell.

    Args:
        value: may be infinite, then the bar is full and marked as having no limit.
        limit: position of the limit's mark, or None.
        scale: value at the right end, above 0.
        stop: whether the tabulator key stops here.
    """
    finite = math.isfinite(value)
    share = min(value / scale, 1.0) if finite else 1.0
    over = not finite or (limit is not None and value > limit)
    notch = Markup("")
    if limit is not None:
        place = f"{100 * min(limit / scale, 1.0):.2f}"
        notch = Markup('<line class="limit" x1="{0}" x2="{0}" y1="0" y2="12"/>').format(place)
    return Markup(
        '<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label="{}"{}>'
        '<title>{}</title><rect class="track" width="100" height="12"/>'
        '<rect class="{}" y="2" width="{}" height="8"/>{}</svg>'
    ).format(
        name,
        Markup(' tabindex="0"') if stop else "",
        name,
        "fill over" if over else "fill",
        f"{100 * share:.2f}",
        notch,
    )


def line_chart(
    points: Sequence[Point],
    *,
    title: str,
    description: str,
    across: Scale,
    up: Scale,
    limit: Limit | None = None,
) -> Markup:
    """Draw values as a line with a dot each.

    Args:
        points: in order of x, at least one.
        across: scale of x.
        up: scale of y, which holds the limit too.
        limit: height and name of a dashed line, or None.
    """
    x = Axis(low=across.low, high=across.high, start=LEFT, stop=WIDTH - RIGHT)
    y = Axis(low=up.low, high=up.high, start=HEIGHT - BOTTOM, stop=TOP)
    behind = [_frame(x, y, across, up)]
    if limit:
        height = y.at(limit.value)
        behind.append(line("limit", LEFT, height, WIDTH - RIGHT, height))
        behind.append(text(LEFT + 6, height - 6, limit.name, "name", "start"))
    behind.append(_path(points, x, y))
    notes = [_note(points, index, x, y) for index, point in enumerate(points) if point.note]
    parts = [scenery(behind), *_dots(points, x, y), scenery(notes)]
    return chart(title, description, WIDTH, HEIGHT, parts)


@dataclass(frozen=True, kw_only=True)
class Bin:
    """How many values lie in an interval; the last interval includes its end."""

    low: float
    high: float
    count: int


def binned(values: Sequence[float], limit: Limit | None = None, number: int = 24) -> tuple[Bin, ...]:
    """Count values in equal intervals that reach from and to round numbers, and to the limit.

    Args:
        values: finite, at least one.
    """
    reach = [*values, limit.value] if limit else list(values)
    marks = ticks(min(reach), max(reach))
    width = (marks[-1] - marks[0]) / number
    counts = [0] * number
    for value in values:
        counts[min(int((value - marks[0]) / width), number - 1)] += 1
    return tuple(
        Bin(low=marks[0] + index * width, high=marks[0] + (index + 1) * width, count=count)
        for index, count in enumerate(counts)
    )


def histogram(
    bins: Sequence[Bin],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    limit: Limit | None = None,
) -> Markup:
    """Draw how many values fall into each interval.

    Args:
        bins: as `binned` made them.
        limit: place on the x axis and name of a dashed line, or None.
    """
    low, high = bins[0].low, bins[-1].high
    marks = tuple(ticks(low, high))
    across = Scale(low=low, high=high, ticks=marks, text=lambda value: f"{value:,.10g}", label=x_label)
    up = from_zero(max(column.count for column in bins), y_label, lambda value: f"{value:,.0f}")
    up = replace(up, ticks=tuple(tick for tick in up.ticks if tick == int(tick)))
    x = Axis(low=low, high=high, start=LEFT, stop=2 * WIDTH - RIGHT)
    y = Axis(low=0.0, high=up.high, start=HEIGHT - BOTTOM, stop=TOP)
    behind = [_frame(x, y, across, up)]
    if limit:
        place = x.at(limit.value)
        behind.append(line("limit", place, TOP, place, HEIGHT - BOTTOM))
        behind.append(text(place - 6, TOP + 10, limit.name, "name", "end"))
    columns = [_column(column, x, y) for column in bins if column.count]
    return chart(title, description, 2 * WIDTH, HEIGHT, [scenery(behind), *columns])


def _column(column: Bin, x: Axis, y: Axis) -> Markup:
    left, top = x.at(column.low) + 1, y.at(column.count)
    shape = rectangle("fill", left, top, max(x.at(column.high) - left - 1, 1), y.start - top)
    name = f"{column.count:,} between {column.low:.4g} and {column.high:.4g}"
    return mark(name, shape, width=2 * WIDTH)


def _frame(x: Axis, y: Axis, across: Scale, up: Scale) -> Markup:
    parts = [text(0, 14, up.label, "name", "start")]
    for row in up.ticks:
        parts.append(line("grid" if row else "axis", x.start, y.at(row), x.stop, y.at(row)))
        parts.append(text(x.start - 8, y.at(row) + 4, up.text(row), "tick", "end"))
    for column in across.ticks:
        parts.append(line("axis", x.at(column), y.start, x.at(column), y.start + 5))
        parts.append(text(x.at(column), y.start + 20, across.text(column), "tick"))
    parts.append(text((x.start + x.stop) / 2, HEIGHT - 6, across.label, "name"))
    return Markup("").join(parts)


def _path(points: Sequence[Point], x: Axis, y: Axis) -> Markup:
    places = " ".join(f"{x.at(point.x)},{y.at(point.y)}" for point in points)
    return Markup('<polyline class="line" points="{}"/>').format(places)


def _dots(points: Sequence[Point], x: Axis, y: Axis) -> list[Markup]:
    """Draw each point with an invisible band that the pointer finds more easily than a dot."""
    css, radius = ("dot", 3.5) if len(points) <= MOST_STOPS else ("dot small", 2)
    places = [x.at(point.x) for point in points]
    edges = [x.start, *((left + right) / 2 for left, right in pairwise(places)), x.stop]
    reached = stops(len(points))
    return [
        mark(
            point.name,
            rectangle(
                "band", edges[index], TOP, max(edges[index + 1] - edges[index], 0), HEIGHT - TOP - BOTTOM
            )
            + circle(css, places[index], y.at(point.y), radius),
            width=WIDTH,
            stop=index in reached,
        )
        for index, point in enumerate(points)
    ]


def _note(points: Sequence[Point], index: int, x: Axis, y: Axis) -> Markup:
    """Write a point's note on the side that the line does not come from."""
    point = points[index]
    place, height = x.at(point.x), y.at(point.y)
    falling = index > 0 and points[index - 1].y > point.y
    if index < len(points) - 1:
        return text(place + 8, height - 9, point.note, "value", "start" if falling or index == 0 else "end")
    below = falling and height + 24 < y.start
    return text(place, height + (20 if below else -10), point.note, "value", "end")
