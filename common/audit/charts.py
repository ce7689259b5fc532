"""Charts as inline SVG: pure functions from numbers to markup, coloured by the page's style sheet.

Every chart carries a title and a description for screen readers; every mark carries its numbers as a
tooltip. All text is escaped, since client and class names may contain anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 520
HEIGHT = 270
LEFT, RIGHT, TOP, BOTTOM = 54, 18, 26, 46
MOST_DOTS = 25


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
class Point:
    """One value of a line, with the tooltip that names it."""

    x: float
    y: float
    tooltip: str


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A dashed line at a value, with its name written beside it."""

    value: float
    name: str


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


def spent_bar(value: float, limit: float | None, scale: float, tooltip: str) -> Markup:
    """Draw one value as a bar against its limit; stretches to the width of its table cell.

    Args:
        value: may be infinite, then the bar is full and marked as having no limit.
        limit: position of the limit's mark, or None.
        scale: value at the right end, above 0.
    """
    finite = math.isfinite(value)
    share = min(value / scale, 1.0) if finite else 1.0
    over = not finite or (limit is not None and value > limit)
    mark = Markup("")
    if limit is not None:
        place = 100 * min(limit / scale, 1.0)
        mark = Markup('<line class="limit" x1="{0}" x2="{0}" y1="0" y2="12"/>').format(f"{place:.2f}")
    return Markup(
        '<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" role="img"><title>{}</title>'
        '<rect class="track" width="100" height="12"/>'
        '<rect class="{}" y="2" width="{}" height="8"/>{}</svg>'
    ).format(tooltip, "fill over" if over else "fill", f"{100 * share:.2f}", mark)


def line_chart(
    points: Sequence[Point],
    *,
    title: str,
    description: str,
    x_label: str,
    y_format: Callable[[float], str],
    last_text: str,
    limit: Limit | None = None,
) -> Markup:
    """Draw values over rounds from zero upwards, with the last one written out.

    Args:
        points: in order of x, at least one.
        y_format: how to write a value on the y axis.
        last_text: the last value as it is written beside its point.
        limit: height and name of a dashed line, or None.
    """
    heights = [point.y for point in points] + ([limit.value] if limit else [])
    rows = ticks(0.0, max(heights))
    last = points[-1].x
    columns = [tick for tick in ticks(0.0, last, 7) if tick <= last and tick == int(tick)]
    across = Axis(low=0.0, high=max(last, 1.0), start=LEFT, stop=WIDTH - RIGHT)
    up = Axis(low=rows[0], high=rows[-1], start=HEIGHT - BOTTOM, stop=TOP)
    parts = [_frame(across, up, columns, rows, y_format), _label(across, x_label)]
    if limit:
        parts.append(_limit_line(up, limit))
    parts += [_path(points, across, up), _last_value(points, across, up, last_text)]
    return _svg(title, description, WIDTH, HEIGHT, parts)


def histogram(
    values: Sequence[float],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    limit: Limit | None = None,
    bins: int = 24,
) -> Markup:
    """Draw how many values fall into each of equal intervals.

    Args:
        values: finite, at least one.
        limit: place on the x axis and name of a dashed line, or None.
    """
    reach = [*values, limit.value] if limit else list(values)
    columns = ticks(min(reach), max(reach))
    edges = [columns[0] + (columns[-1] - columns[0]) * index / bins for index in range(bins + 1)]
    width = edges[1] - edges[0]
    places = [min(int((value - edges[0]) / width), bins - 1) for value in values]
    counts = [places.count(index) for index in range(bins)]
    rows = [tick for tick in ticks(0.0, max(counts)) if tick == int(tick)]
    across = Axis(low=columns[0], high=columns[-1], start=LEFT, stop=2 * WIDTH - RIGHT)
    up = Axis(low=0.0, high=rows[-1], start=HEIGHT - BOTTOM, stop=TOP)
    parts = [_frame(across, up, columns, rows, lambda value: f"{value:,.0f}"), _label(across, x_label)]
    parts.append(_text(0, 12, y_label, "name", "start"))
    for index, number in enumerate(counts):
        if number:
            parts.append(_column(across, up, edges[index], edges[index + 1], number))
    if limit:
        parts.append(_limit_column(across, limit))
    return _svg(title, description, 2 * WIDTH, HEIGHT, parts)


def _svg(title: str, description: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    head = Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title><desc>{}</desc>'
    )
    return head.format(width, height, title, title, description) + Markup("").join(parts) + Markup("</svg>")


def _text(x: float, y: float, text: str, css: str, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(css, x, y, anchor, text)


def _line(css: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(css, x1, y1, x2, y2)


def _frame(
    across: Axis, up: Axis, columns: Sequence[float], rows: Sequence[float], y_format: Callable[[float], str]
) -> Markup:
    parts = []
    for row in rows:
        parts.append(_line("grid" if row else "axis", across.start, up.at(row), across.stop, up.at(row)))
        parts.append(_text(across.start - 8, up.at(row) + 4, y_format(row), "tick", "end"))
    for column in columns:
        parts.append(_line("axis", across.at(column), up.start, across.at(column), up.start + 5))
        parts.append(_text(across.at(column), up.start + 20, f"{column:,.10g}", "tick"))
    return Markup("").join(parts)


def _label(across: Axis, text: str) -> Markup:
    return _text((across.start + across.stop) / 2, HEIGHT - 6, text, "name")


def _path(points: Sequence[Point], across: Axis, up: Axis) -> Markup:
    places = " ".join(f"{across.at(point.x)},{up.at(point.y)}" for point in points)
    parts = [Markup('<polyline class="line" points="{}"/>').format(places)]
    css, radius = ("dot", 3.5) if len(points) <= MOST_DOTS else ("dot small", 2)
    for point in points:
        dot = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
        parts.append(dot.format(css, across.at(point.x), up.at(point.y), radius, point.tooltip))
    return Markup("").join(parts)


def _last_value(points: Sequence[Point], across: Axis, up: Axis, text: str) -> Markup:
    """Write the last value on the side of its point that the line does not come from."""
    last = points[-1]
    falling = len(points) > 1 and points[-2].y > last.y
    below = falling and up.at(last.y) + 24 < up.start
    return _text(across.at(last.x), up.at(last.y) + (20 if below else -10), text, "value", "end")


def _limit_line(up: Axis, limit: Limit) -> Markup:
    y = up.at(limit.value)
    return _line("limit", LEFT, y, WIDTH - RIGHT, y) + _text(LEFT + 6, y - 6, limit.name, "name", "start")


def _limit_column(across: Axis, limit: Limit) -> Markup:
    x = across.at(limit.value)
    return _line("limit", x, TOP, x, HEIGHT - BOTTOM) + _text(x - 6, TOP + 10, limit.name, "name", "end")


def _column(across: Axis, up: Axis, low: float, high: float, number: int) -> Markup:
    tooltip = f"{number:,} between {low:.4g} and {high:.4g}"
    return Markup('<rect class="fill" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        across.at(low) + 1,
        up.at(number),
        max(across.at(high) - across.at(low) - 2, 1),
        round(up.start - up.at(number), 2),
        tooltip,
    )
