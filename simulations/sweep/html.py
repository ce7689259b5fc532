"""A sweep's outcome as one self-contained page in the report's style: no network, no scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from common.audit.charts import Point, spent_bar
from common.audit.html import fill
from common.audit.scales import Scale, ticks
from common.audit.svg import WIDTH
from common.comparing.html import accuracy_scale
from common.planning.drawing import MOST_SERIES, SERIES_STYLE, Series, lines_chart, logarithmic
from simulations.sweep.axes import SEED, Axis, label
from simulations.sweep.outcome import Outcome, Row, spread_text
from simulations.sweep.text import HEADINGS, headline, privacy_lines, table_rows

_MUCH_WIDER = 8.0


def render(outcome: Outcome) -> str:
    """Draw the page; the same outcome gives the same bytes."""
    context: dict[str, Any] = {
        "headline": headline(outcome),
        "state": "ok" if outcome.clean else "bad",
        "stamp": outcome.plan.config(outcome.plan.candidates[0]).stamp,
        "plan": outcome.plan,
        "chart": chart_of(outcome),
        "headings": HEADINGS[1:],
        "rows": list(zip(outcome.rows, table_rows(outcome), strict=True)),
        "bar": _bar,
        "privacy": privacy_lines(outcome),
        "failures": outcome.failures,
    }
    return fill("sweep.html.j2", context, folder=Path(__file__).parent, styles=(SERIES_STYLE,))


def _bar(row: Row) -> Markup:
    mean = row.mean if row.accuracies else 0.0
    return spent_bar(mean, None, 1.0, f"{row.label}: {spread_text(row.accuracies)}")


def chart_of(outcome: Outcome) -> Markup | None:
    """Draw accuracy over the setting with most numbers, a line for each choice of the others.

    None where no setting has two numbers, or there would be more lines than one can tell apart.
    """
    rows = [row for row in outcome.rows if row.accuracies]
    axis = _numbers(outcome.plan.axes)
    if axis is None or not rows:
        return None
    lines: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.candidate, row.settings[axis.key])):
        others = {key: value for key, value in row.settings.items() if key != axis.key}
        lines.setdefault(label(others), []).append(row)
    if len(lines) > MOST_SERIES:
        return None
    across, place = _across(axis.key, [row.settings[axis.key] for row in rows])
    series = [_series(name, found, axis.key, place) for name, found in lines.items()]
    return lines_chart(
        series,
        title="Accuracy by settings",
        description=f"{headline(outcome)}.",
        across=across,
        up=accuracy_scale([value for row in rows for value in row.accuracies]),
        width=2 * WIDTH,
    )


def _numbers(axes: tuple[Axis, ...]) -> Axis | None:
    numeric = [
        axis
        for axis in axes
        if axis.key != SEED
        and len(axis.values) > 1
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis.values)
    ]
    return max(numeric, key=lambda axis: len(axis.values), default=None)


def _across(name: str, values: Sequence[float]) -> tuple[Scale, Mapping[float, float]]:
    """Return the scale of a setting, in logarithms where its values differ much, and each value's place."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= _MUCH_WIDER:
        return logarithmic(low, high, name), {value: math.log10(value) for value in values}
    marks = tuple(ticks(low, high))
    scale = Scale(low=marks[0], high=marks[-1], ticks=marks, text=lambda value: f"{value:,.6g}", label=name)
    return scale, {value: float(value) for value in values}


def _series(name: str, rows: list[Row], key: str, place: Mapping[float, float]) -> Series:
    points = sorted(
        (
            Point(
                x=place[row.settings[key]],
                y=row.mean,
                name=f"{row.label}: {spread_text(row.accuracies)}, {row.rounds} rounds",
            )
            for row in rows
        ),
        key=lambda point: point.x,
    )
    spans = {place[row.settings[key]]: (min(row.accuracies), max(row.accuracies)) for row in rows}
    return Series(name=name, points=tuple(points), spans=spans)
