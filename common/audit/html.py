"""The report as one self-contained page: no network, no scripts, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from common.audit.charts import Limit, Point, histogram, line_chart, spent_bar
from common.audit.claim import CLAIM
from common.audit.findings import count, grouped
from common.audit.report import AuditReport, ClientReport, headline, verdict
from common.audit.tables import class_table, confusion_table, label_table, setting_tables
from common.audit.wording import budget_text, counted, delta_text, epsilon_text, percent_text, percent_up_text

MOST_CLIENTS = 40
MOST_LISTED = 20
MOST_HEADS = 100
MOST_FINDINGS = 10
MOST_IDS = 20
MOST_VALUES = 6


def render(report: AuditReport) -> str:
    """Draw the page; the same report gives the same bytes."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "epsilon": epsilon_text,
        "budget": budget_text,
        "delta": delta_text,
        "percent": percent_text,
        "percent_up": percent_up_text,
    }
    package = Path(__file__).parent
    template = environment.from_string(package.joinpath("report.html.j2").read_text(encoding="utf-8"))
    style = Markup(package.joinpath("report.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return template.render(style=style, **_context(report))


def _context(report: AuditReport) -> dict[str, Any]:
    shown = _shown_clients(report.clients)
    return {
        "report": report,
        "verdict": verdict(report),
        "headline": headline(report),
        "state": _state(report),
        "claim": CLAIM,
        "errors": count(report.findings, "error"),
        "groups": grouped(report.findings),
        "shown": shown,
        "bars": {client.partition_id: _bar(client, report) for client in shown},
        "histogram": _histogram(report) if len(report.clients) > len(shown) else None,
        "epsilon_chart": _epsilon_chart(report),
        "accuracy_chart": _accuracy_chart(report),
        "labels": label_table(report.partitions) if report.partitions else None,
        "classes": class_table(report.evaluation) if report.evaluation else None,
        "confusion": confusion_table(report.evaluation) if report.evaluation else None,
        "settings": setting_tables(report.settings),
        "heads": report.clients[:MOST_HEADS],
        "plain_bar": _plain_bar,
        "several": _several,
        "counted": counted,
        "bounded": sum(not client.epsilon_exact for client in report.clients),
        "finite": math.isfinite,
        "MOST_FINDINGS": MOST_FINDINGS,
        "MOST_IDS": MOST_IDS,
    }


def _state(report: AuditReport) -> str:
    if not report.verified:
        return "bad"
    return "ok" if report.private else "open"


def _shown_clients(clients: Sequence[ClientReport]) -> tuple[ClientReport, ...]:
    if len(clients) <= MOST_CLIENTS:
        return tuple(clients)
    most_spent = sorted(clients, key=lambda client: (-client.epsilon, client.partition_id))
    return tuple(most_spent[:MOST_LISTED])


def _bar(client: ClientReport, report: AuditReport) -> Markup:
    finite = [value.epsilon for value in report.clients if math.isfinite(value.epsilon)]
    scale = 1.04 * max([*finite, *report.budgets, 1e-9])
    limit = "no budget" if client.budget is None else f"budget {budget_text(client.budget)}"
    tooltip = f"Client {client.partition_id}: epsilon {epsilon_text(client.epsilon)}, {limit}"
    return spent_bar(client.epsilon, client.budget, scale, tooltip)


def _histogram(report: AuditReport) -> Markup | None:
    finite = [client.epsilon for client in report.clients if math.isfinite(client.epsilon)]
    if not finite or max(finite) - min(finite) < 1e-9:
        return None
    return histogram(
        finite,
        title="How much the clients spent",
        description=f"Epsilon of {counted(len(finite), 'client')}, from {epsilon_text(min(finite))} "
        f"to {epsilon_text(max(finite))}.",
        x_label="epsilon spent",
        y_label="clients",
        limit=_limit(report),
    )


def _epsilon_chart(report: AuditReport) -> Markup | None:
    points = [
        Point(x=entry.round, y=entry.epsilon, tooltip=f"Round {entry.round}: {epsilon_text(entry.epsilon)}")
        for entry in report.rounds
        if math.isfinite(entry.epsilon)
    ]
    if not points:
        return None
    return line_chart(
        points,
        title="Largest epsilon after each round",
        description=f"Rises to {epsilon_text(points[-1].y)} after round {points[-1].x:g}.",
        x_label="round",
        y_format=_short,
        last_text=epsilon_text(points[-1].y),
        limit=_limit(report),
    )


def _accuracy_chart(report: AuditReport) -> Markup | None:
    points = [
        Point(x=entry.round, y=entry.accuracy, tooltip=f"Round {entry.round}: {percent_text(entry.accuracy)}")
        for entry in report.rounds
        if math.isfinite(entry.accuracy)
    ]
    if not points:
        return None
    return line_chart(
        points,
        title="Accuracy on the public test images after each round",
        description=f"Ends at {percent_text(points[-1].y)}.",
        x_label="round",
        y_format=lambda share: percent_text(share, 0),
        last_text=percent_text(points[-1].y),
    )


def _limit(report: AuditReport) -> Limit | None:
    match report.budgets:
        case (budget,):
            return Limit(value=budget, name=f"budget {budget_text(budget)}")
        case _:
            return None


def _short(value: float) -> str:
    return f"{value:.4g}"


def _plain_bar(share: float, name: str) -> Markup:
    return spent_bar(share, None, 1.0, f"{name}: {percent_text(share)}")


def _several(values: Sequence[object]) -> str:
    if not values:
        return "none recorded"
    if len(values) <= MOST_VALUES:
        return ", ".join(str(value) for value in values)
    return f"{len(values):,} different values, from {values[0]} to {values[-1]}"
