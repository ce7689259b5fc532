"""From a report to its figures: what each chart shows, and how it says so in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from common.audit.breakdown import MechanismSpending
from common.audit.charts import Bin, Limit, Point, binned, histogram, line_chart, spent_bar
from common.audit.parts import Part, parts_chart
from common.audit.report import AuditReport
from common.audit.report_parts import ClientReport
from common.audit.scales import from_zero, powers_of_ten, whole_numbers
from common.audit.wording import budget_text, delta_text, epsilon_text, percent_text
from common.words import counted

MOST_PARTS = 12

_MECHANISMS = {
    "poisson-gaussian": "Gaussian noise, random batches",
    "gaussian": "Gaussian noise, all images",
    "laplace": "Laplace noise",
    "discrete-laplace": "noisy counts",
    "unprotected": "no noise",
}


def client_bar(client: ClientReport, report: AuditReport) -> Markup:
    """Draw what one client spent against its budget, on one scale for all clients."""
    finite = [value.epsilon for value in report.clients if math.isfinite(value.epsilon)]
    scale = 1.04 * max([*finite, *report.budgets, 1e-9])
    limit = "no budget" if client.budget is None else f"budget {budget_text(client.budget)}"
    spent = epsilon_text(client.epsilon, budget=client.budget)
    name = f"Client {client.partition_id}: epsilon {spent}, {limit}"
    return spent_bar(client.epsilon, client.budget, scale, name, stop=True)


def share_bar(share: float, name: str) -> Markup:
    """Draw a share of 1."""
    return spent_bar(share, None, 1.0, f"{name}: {percent_text(share)}")


def spread_of_clients(report: AuditReport) -> tuple[Bin, ...]:
    """Count clients by what they spent; empty where all spent the same."""
    finite = [client.epsilon for client in report.clients if math.isfinite(client.epsilon)]
    if not finite or max(finite) - min(finite) < 1e-9:
        return ()
    return binned(finite, _budget(report))


def clients_histogram(report: AuditReport) -> Markup | None:
    """Draw how many clients spent how much; None where all spent the same."""
    bins = spread_of_clients(report)
    if not bins:
        return None
    finite = [client.epsilon for client in report.clients if math.isfinite(client.epsilon)]
    return histogram(
        bins,
        title="How much the clients spent",
        description=f"Epsilon of {counted(len(finite), 'client')}, from {epsilon_text(min(finite))} "
        f"to {epsilon_text(max(finite))}.",
        x_label="epsilon spent",
        y_label="clients",
        limit=_budget(report),
    )


def epsilon_chart(report: AuditReport) -> Markup | None:
    """Draw the largest epsilon after each round; None where no round has one."""
    named = [
        (entry.round, entry.epsilon, f"Round {entry.round}: epsilon {epsilon_text(entry.epsilon)}")
        for entry in report.rounds
        if math.isfinite(entry.epsilon)
    ]
    if not named:
        return None
    points, limit = _with_last_note(named, epsilon_text), _budget(report)
    return line_chart(
        points,
        title="Largest epsilon after each round",
        description=f"Rises to {epsilon_text(points[-1].y)} after round {points[-1].x:g}.",
        across=whole_numbers(points[-1].x, "round"),
        up=from_zero(_highest(points, limit), "epsilon", _short),
        limit=limit,
    )


def accuracy_chart(report: AuditReport) -> Markup | None:
    """Draw the accuracy after each round; None where no round has one."""
    named = [
        (entry.round, entry.accuracy, f"Round {entry.round}: accuracy {percent_text(entry.accuracy)}")
        for entry in report.rounds
        if math.isfinite(entry.accuracy)
    ]
    if not named:
        return None
    points = _with_last_note(named, percent_text)
    return line_chart(
        points,
        title="Accuracy on the public test images after each round",
        description=f"Ends at {percent_text(points[-1].y)}.",
        across=whole_numbers(points[-1].x, "round"),
        up=from_zero(_highest(points), "accuracy", _whole_percent),
    )


def tradeoff_chart(report: AuditReport) -> Markup | None:
    """Draw what accuracy each epsilon bought, round by round; None where that is not known."""
    named = [
        (
            entry.epsilon,
            entry.accuracy,
            f"Epsilon {epsilon_text(entry.epsilon)}: accuracy {percent_text(entry.accuracy)}, "
            f"round {entry.round}",
        )
        for entry in report.rounds
        if math.isfinite(entry.accuracy) and math.isfinite(entry.epsilon)
    ]
    if not named or named[-1][0] <= 0:
        return None
    points = _with_last_note(sorted(named, key=lambda point: point[0]), percent_text)
    return line_chart(
        points,
        title="Accuracy against epsilon",
        description=f"Each dot is a round. At epsilon {epsilon_text(points[-1].x)} the accuracy is "
        f"{percent_text(points[-1].y)}.",
        across=from_zero(points[-1].x, "largest epsilon so far", _short),
        up=from_zero(_highest(points), "accuracy", _whole_percent),
    )


def curve_chart(report: AuditReport) -> Markup | None:
    """Draw epsilon over delta; None where the guarantee is a single pair or none."""
    curve = [point for point in reversed(report.meaning.curve) if math.isfinite(point.epsilon)]
    if len(curve) < 2:
        return None
    points = [
        Point(
            x=math.log10(point.delta),
            y=point.epsilon,
            name=f"Delta {delta_text(point.delta)}: epsilon {epsilon_text(point.epsilon)}",
            note=f"{epsilon_text(point.epsilon)} at {delta_text(point.delta)}"
            if point.delta == report.delta
            else "",
        )
        for point in curve
    ]
    return line_chart(
        points,
        title="Epsilon at every delta",
        description=f"Falls from {epsilon_text(points[0].y)} at delta {delta_text(curve[0].delta)} "
        f"to {epsilon_text(points[-1].y)} at delta {delta_text(curve[-1].delta)}.",
        across=powers_of_ten(curve[0].delta, curve[-1].delta, "delta"),
        up=from_zero(_highest(points), "epsilon", _short),
    )


def runs_chart(report: AuditReport) -> Markup | None:
    """Draw what each run would have cost alone, and all together; None for a single run."""
    parts = [
        Part(name=run_name(spent.run, report), value=spent.epsilon, shown=epsilon_text(spent.epsilon))
        for spent in report.breakdown.runs
    ]
    return _parts(parts, report, "What each run would have cost alone, and all together")


def mechanisms_chart(report: AuditReport) -> Markup | None:
    """Draw what each mechanism would have cost alone, and all together; None for a single one."""
    parts = [
        Part(name=mechanism_name(spent), value=spent.epsilon, shown=epsilon_text(spent.epsilon))
        for spent in report.breakdown.mechanisms
    ]
    return _parts(parts, report, "What each mechanism would have cost alone, and all together")


def run_name(run: str, report: AuditReport) -> str:
    """Name a run, and say whether it is the one that the report is about."""
    return f"{run} (this report's)" if run == report.run else run


def mechanism_name(spent: MechanismSpending) -> str:
    """Name a purpose and setting in words."""
    settings = [
        *([f"noise {spent.noise_multiplier}"] if spent.noise_multiplier is not None else []),
        *([f"chance {spent.sample_rate}"] if spent.sample_rate is not None else []),
    ]
    kind = _MECHANISMS.get(spent.mechanism, spent.mechanism)
    return ", ".join([f"{spent.purpose}: {kind}", *settings])


def _parts(parts: Sequence[Part], report: AuditReport, title: str) -> Markup | None:
    if len(parts) < 2:
        return None
    costliest = sorted(parts, key=lambda part: -part.value)[:MOST_PARTS]
    total = epsilon_text(report.breakdown.epsilon)
    kept = [part for part in parts if part in costliest]
    together = Part(name="All together", value=report.breakdown.epsilon, shown=total, whole=True)
    left_out = len(parts) - len(kept)
    return parts_chart(
        [*kept, together],
        title=title,
        description=f"The parts do not add up: all together cost {total}."
        + (f" {counted(left_out, 'smaller part')} not drawn." if left_out else ""),
        unit="epsilon",
        limit=_budget(report),
    )


def _with_last_note(named: Sequence[tuple[float, float, str]], write: Callable[[float], str]) -> list[Point]:
    points = [Point(x=x, y=y, name=name) for x, y, name in named]
    last = points[-1]
    return [*points[:-1], Point(x=last.x, y=last.y, name=last.name, note=write(last.y))]


def _highest(points: Sequence[Point], limit: Limit | None = None) -> float:
    return max([point.y for point in points] + ([limit.value] if limit else []))


def _budget(report: AuditReport) -> Limit | None:
    match report.budgets:
        case (budget,):
            return Limit(value=budget, name=f"budget {budget_text(budget)}")
        case _:
            return None


def _short(value: float) -> str:
    return f"{value:.4g}"


def _whole_percent(share: float) -> str:
    return percent_text(share, 0)
