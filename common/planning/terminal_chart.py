"""Epsilon over rounds as columns of characters, for any terminal or none."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from common.audit.scales import ticks
from common.planning.solving import CurvePoint

HEIGHT = 8
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " ........#"[1:]


def column_chart(
    curve: Sequence[CurvePoint], *, budget: float | None, width: int = 64, ascii_only: bool = False
) -> list[str]:
    """Draw a curve from its first round to its last one; no column is lower than its epsilon.

    Args:
        curve: in order of rounds, at least two points, all finite.
        budget: height of a dotted line, or None.
        width: columns of the drawing, without the axis.
        ascii_only: draw with # and dots, for terminals without block characters.
    """
    rows = ticks(0.0, max([point.epsilon for point in curve] + [budget or 0.0]), 5)
    top = rows[-1]
    eighths = [math.ceil(8 * HEIGHT * epsilon / top - 1e-9) for epsilon in _columns(curve, width)]
    blocks, dot = ("       ##", "-") if ascii_only else (_BLOCKS, "┄")
    marks = {round(HEIGHT * value / top): f"{value:g}" for value in rows}
    line = None if budget is None else min(HEIGHT - 1, max(0, math.ceil(HEIGHT * budget / top) - 1))
    lines = []
    for row in range(HEIGHT - 1, -1, -1):
        empty = dot if row == line else " "
        cells = "".join(blocks[min(8, max(0, value - 8 * row))] for value in eighths).replace(" ", empty)
        remark = " budget" if row == line else ""
        lines.append(f"{marks.get(row + 1, ''):>8} {'|' if ascii_only else '┤'}{cells}{remark}".rstrip())
    return [*lines, *_foot(curve, width, ascii_only)]


def _columns(curve: Sequence[CurvePoint], width: int) -> list[float]:
    """Return the epsilon at evenly spaced rounds: that of the next known round, never a lower one."""
    first, last = curve[0].round, curve[-1].round
    numbers = [point.round for point in curve]
    places = [first + (last - first) * column / (width - 1) for column in range(width)]
    return [curve[min(bisect_left(numbers, place - 1e-9), len(curve) - 1)].epsilon for place in places]


def _foot(curve: Sequence[CurvePoint], width: int, ascii_only: bool) -> list[str]:
    line, corner = ("-", "+") if ascii_only else ("─", "└")
    last = f"{curve[-1].round:,}"
    middle = f"{(curve[0].round + curve[-1].round) // 2:,}"
    room = width - 1 - len(last)
    label = f"0{middle:^{room}}{last}" if room > len(middle) else f"0{last:>{width - 1}}"
    return [f"{0:>8} {corner}{line * width}", f"{'':10}{label} rounds"]
