"""A chart of parts beside their whole, for quantities that do not add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from common.audit.charts import Limit
from common.audit.scales import Axis
from common.audit.svg import WIDTH, chart, line, mark, rectangle, scenery, text

_ROW, _BAR, _HEAD, _FOOT = 44, 14, 26, 22
_ROOM = 84
"""Pixels at the right of the longest bar, for its number."""
_LONGEST_NAME = 62


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part, or the whole.

    Args:
        name: written above the bar.
        value: may be infinite, then the bar is full and marked as having no limit.
        shown: the value in words.
        whole: whether this is all parts together.
    """

    name: str
    value: float
    shown: str
    whole: bool = False


def parts_chart(
    parts: Sequence[Part], *, title: str, description: str, unit: str, limit: Limit | None = None
) -> Markup:
    """Draw parts and their whole as bars below each other, never stacked, because they do not add up.

    Args:
        parts: at least one.
        unit: said before each value, such as 'epsilon'.
        limit: place and name of a dashed line, or None.
    """
    reach = [part.value for part in parts if math.isfinite(part.value)] + ([limit.value] if limit else [])
    x = Axis(low=0.0, high=max([*reach, 1e-9]), start=0.0, stop=WIDTH - _ROOM)
    bottom = _HEAD + _ROW * len(parts)
    behind = []
    if limit:
        place = x.at(limit.value)
        behind.append(line("limit", place, _HEAD, place, bottom))
        behind.append(text(place, bottom + 16, limit.name, "name", "end"))
    rows = [_row(part, unit, _HEAD + _ROW * index, x) for index, part in enumerate(parts)]
    return chart(title, description, WIDTH, bottom + _FOOT, [*rows, scenery(behind)])


def _row(part: Part, unit: str, top: float, x: Axis) -> Markup:
    finite = math.isfinite(part.value)
    end = x.at(part.value) if finite else x.stop
    css = "fill" if part.whole else "fill part"
    words = scenery(
        [
            text(0, top + 14, _shortened(part.name), "name whole" if part.whole else "name", "start"),
            text(end + 8, top + 34, part.shown, "value", "start"),
        ]
    )
    bar = rectangle(css if finite else "fill over", 0, top + 22, max(end, 1), _BAR)
    return mark(f"{part.name}: {unit} {part.shown}", words + bar, width=WIDTH)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
