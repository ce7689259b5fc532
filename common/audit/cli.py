"""The command `fedledger audit`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.audit.findings import grouped
from common.audit.wording import CROSS_CHECK, budget_text, delta_text, epsilon_text, percent_text
from common.words import counted

if TYPE_CHECKING:
    from common.audit.fairness import Fairness
    from common.audit.report import AuditReport

MOST_CLIENTS = 20
MOST_FINDINGS = 5

VERIFIED, REFUTED = 0, 1


def run(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Folder that `fedledger simulate` wrote; or one ledger, a folder of ledgers, a ledger home, "
            "or a server's log.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where report.json and report.html go; by default into a run's folder, and nowhere for "
            "anything else."
        ),
    ] = None,
) -> None:
    """Recompute what every client has spent, and hold every record against the others.

    Exit status: 0 verified, 1 something in the records is wrong, 2 the records could not be read.
    """
    from common.audit.auditor import audit  # the accountant takes a second; --help needs none

    report = audit(path, out=out)
    folder = path if out is None and report.subject == "run" else out
    typer.echo(summary(report, folder / "report.html" if folder else None))
    raise typer.Exit(VERIFIED if report.verified else REFUTED)


def summary(report: AuditReport, page: Path | None) -> str:
    """Return the report as a screen of plain text.

    Args:
        page: where report.html is, None where none was written.
    """
    from common.audit.report import verdict

    lines = [f"{verdict(report)}.", ""]
    lines += [f"{label:<14} {value}" for label, value in _figures(report)]
    lines += [*_clients(report), *_findings(report)]
    lines += ["", f"Report: {page}"] if page else []
    return "\n".join(_printable(line) for line in lines)


def _figures(report: AuditReport) -> Iterator[tuple[str, str]]:
    """Yield what applies to the subject of the audit."""
    if report.subject != "log":
        yield "epsilon", _largest(report)
    if report.subject == "run":
        yield "accuracy", f"{percent_text(report.accuracy)} after {counted(len(report.rounds), 'round')}"
    if report.fairness is not None:
        yield "worst served", _worst_served(report.fairness)
    if report.subject != "log":
        verified = counted(len(report.clients), "ledger")
        yield "clients", f"{verified} verified, {len(report.unreadable):,} not readable"
    if report.log is not None:
        yield "server's log", f"{counted(report.log.size, 'entry', 'entries')}, signed by {report.log.origin}"


def _largest(report: AuditReport) -> str:
    if not report.clients:
        return "not known: no ledger can be read"
    epsilon, delta = epsilon_text(report.epsilon, 4), delta_text(report.delta)
    return f"{epsilon} at delta {delta}, largest of {report.whose}"


def _worst_served(fairness: Fairness) -> str:
    hardest = f"class {fairness.worst_class.name} {percent_text(fairness.worst_class.recall)}"
    if fairness.worst_client is None or fairness.deviation is None:
        return hardest
    client = f"client {fairness.worst_client.partition_id} {percent_text(fairness.worst_client.accuracy)}"
    return f"{hardest}; {client}, deviation between clients {100 * fairness.deviation:.1f} points"


def _clients(report: AuditReport) -> list[str]:
    if not report.clients:
        return []
    if len(report.clients) > MOST_CLIENTS:
        spent = [client.epsilon for client in report.clients]
        return ["", f"The clients spent from {epsilon_text(min(spent), 4)} to {epsilon_text(max(spent), 4)}."]
    head = f"{'client':>6} {'images':>9} {'epsilon':>10} {'budget':>10} {'cross-check':>12} {'steps':>9}"
    rows = [
        f"{client.partition_id:>6} {client.num_examples:>9,} "
        f"{epsilon_text(client.epsilon, 4, budget=client.budget):>10} "
        f"{'none' if client.budget is None else budget_text(client.budget):>10} "
        f"{'-' if client.epsilon_rdp is None else epsilon_text(client.epsilon_rdp, 4):>12} {client.steps:>9,}"
        for client in report.clients
    ]
    return ["", head, *rows, f"cross-check: epsilon {CROSS_CHECK}"]


def _findings(report: AuditReport) -> list[str]:
    lines = ["", "Findings:"] if report.findings else ["", "Findings: none."]
    for group in grouped(report.findings):
        shown = group.findings[:MOST_FINDINGS]
        lines += [f"  {finding.severity}: {finding.message} [{finding.where}]" for finding in shown]
        if len(group.findings) > MOST_FINDINGS:
            lines.append(
                f"  {group.severity}: and {len(group.findings) - MOST_FINDINGS:,} more of {group.code}"
            )
    return lines


def _printable(text: str) -> str:
    """Replace control characters, with which a file name could rewrite the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
