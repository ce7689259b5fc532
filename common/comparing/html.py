"""A comparison of runs as one self-contained page in the report's style: no network, no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from common.audit.charts import Point
from common.audit.html import fill
from common.audit.scales import Scale, ticks, whole_numbers
from common.audit.svg import WIDTH
from common.audit.wording import percent_text
from common.comparing.runs import RunFigures
from common.comparing.text import HEADINGS, cells, difference
from common.planning.drawing import SERIES_STYLE, Series, lines_chart


def render(runs: Sequence[RunFigures]) -> str:
    """Draw the page; the same runs give the same bytes."""
    context = {
        "runs": runs,
        "rows": [cells(run) for run in runs],
        "headings": HEADINGS,
        "difference": difference(runs),
        "chart": chart_of(runs),
        "verified": all(run.verified for run in runs),
    }
    return fill("compare.html.j2", context, folder=Path(__file__).parent, styles=(SERIES_STYLE,))


def chart_of(runs: Sequence[RunFigures]) -> Markup | None:
    """Draw each run's accuracy after each round; None where no run has any."""
    drawn = [run for run in runs if run.accuracies]
    if not drawn:
        return None
    last = max(run.accuracies[-1][0] for run in drawn)
    return lines_chart(
        [_series(run) for run in drawn],
        title="Accuracy after each round",
        description=". ".join(f"{run.kind} ends at {percent_text(run.accuracy, 2)}" for run in drawn) + ".",
        across=whole_numbers(last, "round"),
        up=accuracy_scale([accuracy for run in drawn for _, accuracy in run.accuracies]),
        width=2 * WIDTH,
    )


def accuracy_scale(values: Sequence[float]) -> Scale:
    """Scale that the accuracies fill, between round numbers."""
    low, high = min(values), max(values)
    marks = tuple(ticks(low, high)) if high > low else (max(0.0, low - 0.05), high + 0.05)
    return Scale(low=marks[0], high=marks[-1], ticks=marks, text=_percent, label="accuracy")


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _series(run: RunFigures) -> Series:
    points = (
        Point(x=number, y=accuracy, name=f"{run.kind}, round {number}: {percent_text(accuracy, 2)}")
        for number, accuracy in run.accuracies
    )
    return Series(name=run.kind, points=tuple(points))
