"""Hold an earlier report of a run against the records: nobody may rely on one that they contradict.

Where ledgers have grown since, an earlier report is out of date, and only must not know entries that are
gone. Otherwise all of it must be what is recomputed: word for word where the same program wrote it, and in
its figures where another version did.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from common.audit.agreement import OTHER_PROGRAM, first_difference, same_program
from common.audit.assemble import with_findings
from common.audit.codes import Severity
from common.audit.findings import Finding, error
from common.audit.history import ClientLedger
from common.audit.html import render
from common.audit.reading import Record
from common.audit.report import AuditReport
from common.audit.verify_log import Sighting, check_sightings
from common.errors import CheckpointError
from common.privacy.accounting import epsilon_upper_bound

REPORT, CONTRADICTED = "report", "report.contradicted"

_PASSING = frozenset({"report-differs", "log-unsigned-tail"})
"""Findings about what may come and go while the records of a run stay as they are."""


class _Client(Record):
    partition_id: int
    ledger_id: str
    entries: int = Field(ge=1)
    head: str
    epsilon: float | None


class _Log(Record):
    size: int


class _Standing(Record):
    """How far the records were when a report was written."""

    rounds: int
    epsilon: float | None
    clients: tuple[_Client, ...]
    log: _Log | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    code_digest: str = Field("", pattern="^([0-9a-f]{64})?$")


class _Found(Record):
    code: str
    severity: Severity
    message: str
    where: str


def check_earlier(report: AuditReport, ledgers: Sequence[ClientLedger], folder: Path) -> Iterator[Finding]:
    """Yield where earlier reports in a folder say what the records do not support.

    Args:
        report: what was recomputed, without regard to earlier reports.
    """
    yield from _kept(report, ledgers, folder)
    yield from _contradictions(report, ledgers, folder / f"{REPORT}.json")
    yield from _other_page(report, folder)


def set_aside(report: AuditReport, ledgers: Sequence[ClientLedger], folder: Path) -> None:
    """Keep an earlier report that the records contradict under another name, so that it is not overwritten.

    Raises:
        CheckpointError: when the file system refuses.
    """
    data = any(_contradictions(report, ledgers, folder / f"{REPORT}.json"))
    page = data or any(_other_page(report, folder))
    for suffix in (suffix for suffix, contradicted in ((".json", data), (".html", page)) if contradicted):
        path = folder / f"{REPORT}{suffix}"
        try:
            if path.exists():
                path.replace(folder / f"{CONTRADICTED}{suffix}")
        except OSError as problem:
            raise CheckpointError(
                f"{path} cannot be renamed ({problem.strerror}): choose another --out"
            ) from None


def _kept(report: AuditReport, ledgers: Sequence[ClientLedger], folder: Path) -> Iterator[Finding]:
    """Yield what was set aside before; that it is there is a finding even where it is no longer clear why."""
    data, page = folder / f"{CONTRADICTED}.json", folder / f"{CONTRADICTED}.html"
    if data.exists():
        reasons = [*_contradictions(report, ledgers, data)]
        yield from reasons or [_differs("An earlier report was not what the records support", data)]
    elif page.exists():
        yield _differs("An earlier page of the report showed something else than the records do", page)


def _differs(text: str, path: Path) -> Finding:
    return error("report-differs", f"{text}; it was changed, or the records were.", path.name)


def _contradictions(report: AuditReport, ledgers: Sequence[ClientLedger], path: Path) -> Iterator[Finding]:
    if not path.exists():
        return
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        standing = _Standing.model_validate(recorded)
    except (OSError, ValueError, RecursionError):
        yield _differs("An earlier report cannot be read as one", path)
        return
    gone = [*_gone(standing, report, ledgers, path)]
    yield from gone
    if gone:
        return
    if _grown(standing, report):
        yield from _understated(standing, ledgers, path)
        return
    place = first_difference(_as_recorded(report, recorded).to_json(), recorded)
    if place:
        yield _differs(f"An earlier report gives another {place} than the records do", path)


def _gone(
    standing: _Standing, report: AuditReport, ledgers: Sequence[ClientLedger], path: Path
) -> Iterator[Finding]:
    """Yield what the report knew and the records have no longer."""
    by_id = {ledger.view.genesis.ledger_id: ledger for ledger in ledgers}
    for client in standing.clients:
        ledger = by_id.get(client.ledger_id)
        if ledger is not None:
            seen = Sighting(
                sequence=client.entries - 1,
                entry=client.head,
                witness="an earlier report",
                where=path.name,
            )
            yield from check_sightings(ledger, [seen])
        elif client.partition_id not in report.unreadable:
            text = f"An earlier report knows a ledger of client {client.partition_id} that is not there"
            yield _differs(text, path)
    if standing.rounds > len(report.rounds):
        yield _differs(f"An earlier report tells of {standing.rounds} rounds, and the records of fewer", path)
    if standing.log and report.log and standing.log.size > report.log.size:
        yield _differs("An earlier report knows a longer log of the server", path)


def _grown(standing: _Standing, report: AuditReport) -> bool:
    """Say whether there are records that the report cannot know, or ledgers that cannot be read any more."""
    now = {client.ledger_id: client.head for client in report.clients}
    if any(now.get(client.ledger_id) != client.head for client in standing.clients):
        return True
    if report.log is not None:
        return standing.log is None or report.log.size > standing.log.size
    return len(report.rounds) > standing.rounds or len(now) > len(standing.clients)


def _understated(standing: _Standing, ledgers: Sequence[ClientLedger], path: Path) -> Iterator[Finding]:
    """Yield that a report which is out of date states less than its ledgers had charged by then."""
    by_id = {ledger.view.genesis.ledger_id: ledger for ledger in ledgers}
    for client in standing.clients:
        ledger = by_id.get(client.ledger_id)
        if ledger is None:
            continue
        then = [charge for charge in ledger.charges if charge.sequence < client.entries]
        spent = (mechanism for charge in then for mechanism in charge.body.mechanisms)
        bound = epsilon_upper_bound(spent, ledger.view.genesis.delta)
        if min(_number(client.epsilon), _number(standing.epsilon)) < bound * (1 - OTHER_PROGRAM):
            text = f"An earlier report gives client {client.partition_id} less than it had spent by then"
            yield _differs(text, path)


def _number(epsilon: float | None) -> float:
    """Return an epsilon of a report, in which null stands for no limit."""
    return math.inf if epsilon is None else epsilon


def _as_recorded(report: AuditReport, recorded: Mapping[str, Any]) -> AuditReport:
    """Return the recomputed report with the passing findings that the earlier one has, in its order."""
    try:
        said = [_Found.model_validate(value) for value in recorded.get("findings", ())]
    except (ValidationError, TypeError):
        return report
    findings = [Finding(**finding.model_dump()) for finding in said]
    lasting = [finding for finding in report.findings if not _passes(finding)]
    if sorted(map(repr, lasting)) == sorted(repr(finding) for finding in findings if not _passes(finding)):
        return with_findings(report, findings)
    return with_findings(report, [*lasting, *(finding for finding in findings if _passes(finding))])


def _passes(finding: Finding) -> bool:
    return finding.code in _PASSING or finding.where.endswith((f"{REPORT}.json", f"{CONTRADICTED}.json"))


def _other_page(report: AuditReport, folder: Path) -> Iterator[Finding]:
    """Yield that report.html is not the page of the records, where it is up to date and of this program."""
    page, data = folder / f"{REPORT}.html", folder / f"{REPORT}.json"
    if not page.exists():
        return
    try:
        shown = page.read_text(encoding="utf-8", errors="replace")
        recorded = json.loads(data.read_text(encoding="utf-8")) if data.exists() else None
        expected = _page_of(report, recorded, shown)
    except (OSError, ValueError, RecursionError):
        return
    if expected is not None and shown != render(expected):
        yield _differs("An earlier page of the report shows something else than the records do", page)


def _page_of(report: AuditReport, recorded: Mapping[str, Any] | None, shown: str) -> AuditReport | None:
    """Return the report that a page must show, None where nothing says that it is up to date."""
    if recorded is None:
        dated = all(mark in shown for mark in (report.code_digest, *(c.head for c in report.clients)))
        return report if dated else None
    current = not _grown(_Standing.model_validate(recorded), report)
    if current and same_program(report.to_json(), recorded):
        return _as_recorded(report, recorded)
    return None
