"""From a plan to its figures: what each chart shows, and how it says so in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from common.audit.charts import Limit, Point, spent_bar
from common.audit.scales import from_zero, whole_numbers
from common.audit.svg import WIDTH
from common.audit.wording import budget_text, epsilon_text
from common.planning.cautions import ratio_text
from common.planning.drawing import MOST_SERIES, Series, lines_chart, logarithmic
from common.planning.plan import GroupPlan, Plan


def group_bar(group: GroupPlan, plan: Plan) -> Markup:
    """Draw what a client will have spent against its budget, on one scale for all clients."""
    finite = [other.epsilon for other in plan.groups if math.isfinite(other.epsilon)]
    scale = 1.04 * max([*finite, group.budget or 0.0, 1e-9])
    limit = "no budget" if group.budget is None else f"budget {budget_text(group.budget)}"
    spent = epsilon_text(group.epsilon, budget=group.budget)
    name = f"{group.num_examples:,} examples: epsilon {spent}, {limit}"
    return spent_bar(group.epsilon, group.budget, scale, name, stop=True)


def epsilon_chart(plan: Plan) -> Markup | None:
    """Draw the epsilon of each kind of client over the rounds; kinds with the same curve share a line."""
    curves: dict[tuple[Point, ...], list[GroupPlan]] = {}
    for group in plan.groups:
        if len(group.curve) > 1 and math.isfinite(group.epsilon):
            curves.setdefault(_points(group), []).append(group)
    if not curves:
        return None
    lines = [Series(name=_names(alike), points=points) for points, alike in curves.items()]
    most = max(group.epsilon for alike in curves.values() for group in alike)
    budget = plan.question.epsilon
    return lines_chart(
        _spread(lines),
        title="Epsilon after each round",
        description=f"Rises to {epsilon_text(most)}.",
        across=whole_numbers(max(points[-1].x for points in curves), "round"),
        up=from_zero(max(most, budget or 0.0), "epsilon", lambda value: f"{value:.4g}"),
        width=2 * WIDTH,
        limit=None if budget is None else Limit(value=budget, name=f"budget {budget_text(budget)}"),
    )


def rounds_chart(plan: Plan) -> Markup | None:
    """Draw the noise against the rounds that the budget has to last for; None where the noise is given."""
    others = plan.other_rounds
    if len(others) < 2:
        return None
    lines = [
        _series("one step", ((o.rounds, o.noise_to_signal, o.planned) for o in others), "rounds"),
        _series("average", ((o.rounds, o.average, o.planned) for o in others), "rounds"),
        _series("all rounds", ((o.rounds, o.altogether, o.planned) for o in others), "rounds"),
    ]
    return _noise_chart(lines, "Noise-to-signal against the number of rounds", "rounds planned for")


def sizes_chart(plan: Plan) -> Markup | None:
    """Draw the noise against the examples of a client; None for one with a ledger."""
    others = plan.other_sizes
    if len(others) < 2:
        return None
    lines = [
        _series("one step", ((o.num_examples, o.noise_to_signal, o.planned) for o in others), "examples"),
        _series("average", ((o.num_examples, o.average, o.planned) for o in others), "examples"),
    ]
    return _noise_chart(lines, "Noise-to-signal against the examples of a client", "examples of each client")


def _noise_chart(lines: Sequence[Series], title: str, label: str) -> Markup:
    drawn = [line for line in lines if line.points]
    points = [point for line in drawn for point in line.points]
    first, last = drawn[0].points[0], drawn[0].points[-1]
    return lines_chart(
        drawn,
        title=title,
        description=f"At one end: {first.name}. At the other: {last.name}.",
        across=logarithmic(10 ** min(p.x for p in points), 10 ** max(p.x for p in points), label),
        up=logarithmic(10 ** min(p.y for p in points), 10 ** max(p.y for p in points), "noise-to-signal", 6),
        width=WIDTH,
    )


def _series(name: str, values: Iterable[tuple[float, float | None, bool]], unit: str) -> Series:
    known = [(x, y, planned) for x, y, planned in values if y is not None]
    return Series(
        name=name,
        points=tuple(
            Point(x=math.log10(x), y=math.log10(y), name=f"{x:,.0f} {unit}, {name}: {ratio_text(y)}")
            for x, y, _ in known
        ),
        marked=frozenset(math.log10(x) for x, _, planned in known if planned),
    )


def _points(group: GroupPlan) -> tuple[Point, ...]:
    return tuple(
        Point(
            x=point.round,
            y=point.epsilon,
            name=f"Round {point.round:,}: epsilon {epsilon_text(point.epsilon)}",
        )
        for point in group.curve
    )


def _names(alike: Sequence[GroupPlan]) -> str:
    first, last = alike[0].num_examples, alike[-1].num_examples
    return f"n = {first:,}" if first == last else f"n = {first:,} to {last:,}"


def _spread(lines: Sequence[Series]) -> list[Series]:
    """Keep as many lines as one can tell apart: the first, the last and evenly spaced ones between."""
    if len(lines) <= MOST_SERIES:
        return list(lines)
    return [lines[round(index * (len(lines) - 1) / (MOST_SERIES - 1))] for index in range(MOST_SERIES)]
