"""Elements of a drawing: pure functions from numbers and text to escaped markup.

A chart is a group of marks. Each mark has a name, which a screen reader reads, and which the style sheet
shows in the chart's first line while the mark is pointed at or has the keyboard's focus.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

WIDTH = 520
HEIGHT = 284
LEFT, RIGHT, TOP, BOTTOM = 54, 18, 40, 46
MOST_STOPS = 25


def chart(title: str, description: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    """Return the chart as a group that is named by its title and described by its description."""
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="group" aria-label="{}"><desc>{}</desc>')
    return head.format(width, height, title, description) + Markup("").join(parts) + Markup("</svg>")


def scenery(parts: Sequence[Markup]) -> Markup:
    """Return what only the eye needs, such as axes, hidden from screen readers."""
    return Markup('<g aria-hidden="true">') + Markup("").join(parts) + Markup("</g>")


def mark(name: str, drawing: Markup, *, width: float, stop: bool = True) -> Markup:
    """Return a mark with its name.

    Args:
        width: of the chart, at whose upper right the name appears.
        stop: whether the tabulator key stops here; where it does not, screen readers pass it over too, so
            that a long series stays bearable. The table beside the chart has every value.
    """
    opening = (
        Markup('<g class="point" tabindex="0" role="img" aria-label="{}">').format(name)
        if stop
        else Markup('<g class="point" aria-hidden="true">')
    )
    readout = Markup('<text class="readout" x="{}" y="14" text-anchor="end" aria-hidden="true">{}</text></g>')
    return opening + drawing + readout.format(width - RIGHT, name)


def stops(number: int) -> frozenset[int]:
    """Return which of many marks the tabulator key reaches: at most 25, evenly spaced, first and last too."""
    if number <= MOST_STOPS:
        return frozenset(range(number))
    return frozenset(round(index * (number - 1) / (MOST_STOPS - 1)) for index in range(MOST_STOPS))


def text(x: float, y: float, words: str, css: str, anchor: str = "middle") -> Markup:
    """Return a line of text."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        css, x, y, anchor, words
    )


def line(css: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """Return a straight line."""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(css, x1, y1, x2, y2)


def rectangle(css: str, x: float, y: float, width: float, height: float) -> Markup:
    """Return a rectangle."""
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        css, round(x, 2), round(y, 2), round(width, 2), round(height, 2)
    )


def circle(css: str, x: float, y: float, radius: float) -> Markup:
    """Return a circle."""
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(css, x, y, radius)
