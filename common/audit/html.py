"""The report as one self-contained page: no network, no scripts, every text escaped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from common.audit.claim import CLAIM
from common.audit.figures import (
    MOST_PARTS,
    accuracy_chart,
    client_bar,
    clients_histogram,
    curve_chart,
    epsilon_chart,
    mechanism_name,
    mechanisms_chart,
    run_name,
    runs_chart,
    share_bar,
    spread_of_clients,
    tradeoff_chart,
)
from common.audit.findings import count, grouped
from common.audit.practice import PRACTICE
from common.audit.records import Subject
from common.audit.report import AuditReport, headline, verdict
from common.audit.report_parts import ClientReport
from common.audit.tables import class_table, confusion_table, label_table, setting_tables, utility_table
from common.audit.wording import budget_text, delta_text, epsilon_text, percent_text, percent_up_text
from common.words import counted

MOST_CLIENTS = 40
MOST_LISTED = 20
MOST_HEADS = 100
MOST_FINDINGS = 10
MOST_IDS = 20
MOST_VALUES = 6

_PACKAGE = Path(__file__).parent

_KINDS = {
    "fixed": "fixed in advance",
    "filter": "free to change in view of earlier results, limited by a filter",
    "none": "without protection",
}


_SUBJECTS: dict[Subject, str] = {
    "run": "A run",
    "ledgers": "Ledgers",
    "ledger": "One ledger",
    "log": "A server's log",
}


def render(report: AuditReport) -> str:
    """Draw the page; the same report gives the same bytes."""
    return fill("report.html.j2", _context(report))


def fill(
    template: str, context: dict[str, Any], *, folder: Path | None = None, styles: Sequence[Path] = ()
) -> str:
    """Fill a template; every text is escaped.

    Args:
        folder: where the template lies; by default beside this file.
        styles: style sheets that follow the report's.
    """
    sheets = [path.read_text(encoding="utf-8") for path in (_PACKAGE / "report.css", *styles)]
    style = Markup("").join(Markup(sheet) for sheet in sheets)  # noqa: S704 - our own files
    page = _environment(folder or _PACKAGE).get_template(template)
    return page.render(style=style, counted=counted, **context)


@cache
def _environment(folder: Path) -> Environment:
    """Return what keeps a folder's templates once they are compiled, which takes longer than to fill them."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "epsilon": epsilon_text,
        "budget": budget_text,
        "delta": delta_text,
        "percent": percent_text,
        "percent_up": percent_up_text,
    }
    return environment


def _context(report: AuditReport) -> dict[str, Any]:
    return {
        "report": report,
        "verdict": verdict(report),
        "headline": headline(report),
        "state": _state(report),
        "subject": _SUBJECTS[report.subject],
        "contents": _contents(report),
        "claim": CLAIM,
        "practice": PRACTICE,
        "errors": count(report.findings, "error"),
        "groups": grouped(report.findings),
        "settings": setting_tables(report.settings),
        "heads": report.clients[:MOST_HEADS],
        "ledger_file": _ledger_file(report),
        "kinds": [
            (_KINDS[kind], number)
            for kind, number in sorted(Counter(client.accounting for client in report.clients).items())
        ],
        "budgets": [budget_text(budget) for budget in report.budgets],
        "bounded": sum(not client.epsilon_exact for client in report.clients),
        "share_bar": share_bar,
        "several": _several,
        "times": _times,
        "run_name": run_name,
        "mechanism_name": mechanism_name,
        "finite": math.isfinite,
        "MOST_FINDINGS": MOST_FINDINGS,
        "MOST_IDS": MOST_IDS,
        "MOST_LISTED": MOST_LISTED,
    } | _figures(report)


def _figures(report: AuditReport) -> dict[str, Any]:
    shown = _shown_clients(report.clients)
    crowded = len(report.clients) > len(shown)
    return {
        "shown": shown,
        "bars": {client.partition_id: client_bar(client, report) for client in shown},
        "histogram": clients_histogram(report) if crowded else None,
        "spread": spread_of_clients(report) if crowded else (),
        "curve_chart": curve_chart(report),
        "epsilon_chart": epsilon_chart(report),
        "accuracy_chart": accuracy_chart(report),
        "tradeoff_chart": tradeoff_chart(report),
        "runs_chart": runs_chart(report),
        "mechanisms_chart": mechanisms_chart(report),
        "runs": _costliest(report.breakdown.runs),
        "mechanisms": _costliest(report.breakdown.mechanisms),
        "labels": label_table(report.partitions) if report.partitions else None,
        "classes": class_table(report.evaluation) if report.evaluation else None,
        "confusion": confusion_table(report.evaluation) if report.evaluation else None,
        "utilities": utility_table(report.fairness) if report.fairness else None,
    }


def _contents(report: AuditReport) -> list[tuple[str, str]]:
    spending = report.subject != "log"
    known = any(math.isfinite(entry.epsilon) or math.isfinite(entry.accuracy) for entry in report.rounds)
    parts = [
        ("meaning", "What this means", spending),
        ("clients", "Clients", spending),
        ("spending", "Where it was spent", bool(report.breakdown.runs)),
        ("rounds", "Rounds", known),
        ("labels", "Who holds what", report.partitions is not None),
        ("utility", "The model", report.evaluation is not None),
        ("fairness", "Whom it serves", report.fairness is not None),
        ("findings", "Findings", True),
        ("claim", "What is covered", spending),
        ("how", "Method", spending),
        ("operations", "Budgets and keys", spending),
        ("verify", "Verify it", True),
    ]
    return [(name, title) for name, title, present in parts if present]


def _ledger_file(report: AuditReport) -> str:
    if report.subject != "run" or not report.clients:
        return "LEDGER"
    return f"RUN/ledgers/client-{report.clients[0].partition_id}.jsonl"


class _Costly(Protocol):
    @property
    def epsilon(self) -> float: ...


_C = TypeVar("_C", bound=_Costly)


def _costliest(parts: Sequence[_C]) -> tuple[_C, ...]:
    """Return the parts that cost most, in their order."""
    kept = sorted(range(len(parts)), key=lambda index: (-parts[index].epsilon, index))[:MOST_PARTS]
    return tuple(parts[index] for index in sorted(kept))


def _state(report: AuditReport) -> str:
    if not report.verified:
        return "bad"
    return "ok" if report.private or report.subject == "log" else "open"


def _shown_clients(clients: Sequence[ClientReport]) -> tuple[ClientReport, ...]:
    if len(clients) <= MOST_CLIENTS:
        return tuple(clients)
    most_spent = sorted(clients, key=lambda client: (-client.epsilon, client.partition_id))
    return tuple(most_spent[:MOST_LISTED])


def _several(values: Sequence[object]) -> str:
    if not values:
        return "none recorded"
    if len(values) <= MOST_VALUES:
        return ", ".join(str(value) for value in values)
    return f"{len(values):,} different values, from {values[0]} to {values[-1]}"


def _times(number: int) -> str:
    return "never" if not number else counted(number, "time")
