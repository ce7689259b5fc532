"""Audit a run folder, ledgers or a server's log: read, check, recompute, report."""

from __future__ import annotations

import json
from pathlib import Path

from common.audit.assemble import assemble, history_of, with_findings
from common.audit.earlier import check_earlier, set_aside
from common.audit.history import ClientLedger, client_ledgers, run_of
from common.audit.html import render
from common.audit.places import read_records
from common.audit.records import RunRecords, read_run
from common.audit.report import AuditReport
from common.audit.spending import spend
from common.audit.verify import check
from common.audit.verify_ledger import check_spending
from common.run_folder import write_atomically


def audit(path: Path, *, out: Path | None = None) -> AuditReport:
    """Audit what lies at a path; write report.json and report.html for a run, or where `out` says.

    An earlier report in a run's folder is held against the records first. One that they contradict is kept
    beside the new one.

    Args:
        path: a run's folder, a ledger, a folder of ledgers, a ledger home, or a server's log.
        out: where the two files go; by default into a run's folder, and nowhere for anything else.

    Raises:
        CheckpointError: when it is none of these, or the files cannot be written.

    Privacy: reads public files only; keys and images are not opened.
    """
    records = read_records(path)
    ledgers = client_ledgers(records)
    report = _recompute(records, ledgers)
    folder = path if out is None and records.subject == "run" else out
    if folder == path and records.subject == "run":
        set_aside(report, ledgers, path)
    report = _with_earlier(report, records, ledgers)
    if folder is not None:
        _write(report, folder)
    return report


def inspect(path: Path) -> AuditReport:
    """Audit what lies at a path without writing anything.

    Raises:
        CheckpointError: when it is nothing that can be audited.
    """
    return _inspect(read_records(path))


def inspect_run(run_dir: Path) -> AuditReport:
    """Audit a run folder without writing anything.

    Raises:
        CheckpointError: when the folder is no run.
    """
    return _inspect(read_run(run_dir))


def _inspect(records: RunRecords) -> AuditReport:
    ledgers = client_ledgers(records)
    return _with_earlier(_recompute(records, ledgers), records, ledgers)


def _recompute(records: RunRecords, ledgers: tuple[ClientLedger, ...]) -> AuditReport:
    run = run_of(records, ledgers)
    histories = [history_of(ledger) for ledger in ledgers]
    costs = spend(histories)
    spent = [costs[history] for history in histories]
    findings = [*check(records, ledgers, run)]
    for ledger, cost in zip(ledgers, spent, strict=True):
        findings += check_spending(ledger, cost)
    return with_findings(assemble(records, ledgers, run, spent), findings)


def _with_earlier(report: AuditReport, records: RunRecords, ledgers: tuple[ClientLedger, ...]) -> AuditReport:
    if records.subject != "run":
        return report
    return with_findings(report, [*report.findings, *check_earlier(report, ledgers, records.root)])


def _write(report: AuditReport, folder: Path) -> None:
    text = json.dumps(report.to_json(), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / "report.json", text.encode() + b"\n")
    write_atomically(folder / "report.html", render(report).encode())
