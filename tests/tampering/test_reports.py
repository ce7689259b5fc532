"""Whatever is done to a report, the audit sees it, keeps it, and does not forget it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.audit import Finding, audit, inspect_run
from common.audit.earlier import check_earlier
from common.audit.history import client_ledgers
from common.audit.records import read_run
from common.run_folder import RunFolder
from tests.forgery import lines_of, write_lines
from tests.run_folders import RunPlan, charge_and_release

Copy = Callable[[], RunFolder]


def codes_of(folder: RunFolder) -> set[str]:
    """Return the codes of the errors that refute a run."""
    report = inspect_run(folder.root)
    errors = {finding.code for finding in report.findings if finding.severity == "error"}
    assert report.verified is not bool(errors)
    return errors


_INVENTED = {"code": "other-runs", "severity": "note", "message": "Nothing.", "where": "nowhere"}

REPORT_EDITS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("epsilon", lambda report: report.update(epsilon=report["epsilon"] * 0.99)),
    ("a client's epsilon", lambda report: report["clients"][1].update(epsilon=0.1)),
    ("budget", lambda report: report["clients"][0].update(budget=1.0)),
    ("verdict", lambda report: report.update(verdict="Verified: perfect")),
    ("accuracy", lambda report: report.update(accuracy=0.99)),
    ("rounds", lambda report: report.update(rounds=6)),
    ("mechanism", lambda report: report["mechanism"].update(noise_multipliers=[3.0])),
    ("a head", lambda report: report["clients"][0].update(head="0" * 64)),
    ("a ledger", lambda report: report["clients"][0].update(ledger_id="0" * 64)),
    ("more entries", lambda report: report["clients"][0].update(entries=30)),
    ("a client left out", lambda report: report["clients"].pop()),
    ("a field left out", lambda report: report.pop("epsilon_unamplified")),
    ("a finding invented", lambda report: report["findings"].append(_INVENTED)),
    ("claim", lambda report: report["claim"].update(unit="everything")),
]


@pytest.mark.parametrize("edit", [edit for _, edit in REPORT_EDITS], ids=[name for name, _ in REPORT_EDITS])
def test_an_edited_report_is_seen_kept_and_never_forgotten(
    copy: Copy, edit: Callable[[dict[str, Any]], object]
) -> None:
    folder = copy()
    audit(folder.root)
    path = folder.root / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    edit(report)
    path.write_text(json.dumps(report), encoding="utf-8")
    forged = path.read_bytes()
    first = audit(folder.root)
    assert not first.verified
    assert {finding.code for finding in first.findings} & {"report-differs", "ledger-rollback", "ledger-fork"}
    assert (folder.root / "report.contradicted.json").read_bytes() == forged
    _again_the_same(folder, first.findings)


def test_whatever_stands_in_a_field_of_a_report_is_seen(copy: Copy) -> None:
    folder = copy()
    truth = audit(folder.root)
    ledgers = client_ledgers(read_run(folder.root))
    path = folder.root / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    for name in report.keys() - _TIME_AND_PROGRAM:
        value = report[name]
        for junk in (None, True, "\ud800", [None], *_damaged(value)[::3]):
            if junk == value:
                continue
            path.write_text(json.dumps(report | {name: junk}), encoding="utf-8")
            found = {finding.code for finding in check_earlier(truth, ledgers, folder.root)}
            assert found & {"report-differs", "ledger-fork", "ledger-rollback"}, (name, junk)


_TIME_AND_PROGRAM = {"log", "versions", "code_digest"}
"""Fields that say when, and by which program, a report was made: other ones make it another report."""


def _damaged(value: object) -> list[object]:
    """Return a value with each of its parts replaced or left out."""
    if isinstance(value, list) and value:
        return [value[1:], [*value, value[0]], *([item, *value[1:]] for item in _damaged(value[0]))]
    if isinstance(value, dict):
        without = [{key: value[key] for key in value if key != name} for name in value]
        return [*without, *(value | {name: "x"} for name in value)]
    return []


def test_a_finding_left_out_of_a_report_is_seen(copy: Copy) -> None:
    folder = copy()
    charge_and_release(folder, 0, 1, RunPlan(), run="run-0")
    audit(folder.root)
    path = folder.root / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(report | {"findings": []}), encoding="utf-8")
    assert codes_of(folder) == {"report-differs"}


def _again_the_same(folder: RunFolder, findings: tuple[Finding, ...]) -> None:
    written = (folder.root / "report.json").read_bytes(), (folder.root / "report.html").read_bytes()
    assert audit(folder.root).findings == inspect_run(folder.root).findings == findings
    assert (folder.root / "report.json").read_bytes() == written[0]
    assert (folder.root / "report.html").read_bytes() == written[1]
    for file in folder.root.glob("report.contradicted.*"):
        file.unlink()
    assert audit(folder.root).findings == ()


def test_an_edited_page_is_seen_kept_and_never_forgotten(copy: Copy) -> None:
    folder = copy()
    audit(folder.root)
    page = folder.root / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("Verified", "Certified", 1), encoding="utf-8")
    report = audit(folder.root)
    assert [(finding.code, finding.where) for finding in report.findings] == [
        ("report-differs", "report.contradicted.html")
    ]
    assert "Certified" in (folder.root / "report.contradicted.html").read_text(encoding="utf-8")
    assert not (folder.root / "report.contradicted.json").exists()
    _again_the_same(folder, report.findings)


def test_a_report_that_is_no_report_is_seen(copy: Copy) -> None:
    folder = copy()
    (folder.root / "report.json").write_text("{}", encoding="utf-8")
    assert codes_of(folder) == {"report-differs"}


def test_a_report_of_a_run_that_went_on_is_no_contradiction(copy: Copy) -> None:
    folder = copy()
    audit(folder.root)
    charge_and_release(folder, 0, 1, RunPlan(), run="run-0")
    assert [finding.code for finding in audit(folder.root).findings] == ["other-runs"]
    assert not (folder.root / "report.contradicted.json").exists()


def test_a_ledger_rolled_back_behind_a_report_is_seen_without_any_log(copy: Copy) -> None:
    folder = copy()
    charge_and_release(folder, 0, 1, RunPlan(logged=False), run="run-0")
    lines = lines_of(folder.ledger(0))
    audit(folder.root)
    write_lines(folder.ledger(0), lines[:-2])
    report = audit(folder.root)
    assert {finding.code for finding in report.findings} == {"ledger-rollback"}
    assert audit(folder.root).findings == report.findings
    write_lines(folder.ledger(0), lines)
    assert {finding.code for finding in audit(folder.root).findings} == {"report-differs", "other-runs"}


def test_a_report_that_is_out_of_date_must_have_been_true(copy: Copy) -> None:
    folder = copy()
    audit(folder.root)
    path = folder.root / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    charge_and_release(folder, 0, 1, RunPlan(), run="run-0")
    assert codes_of(folder) == set()
    for epsilon in (report["epsilon"] * 0.9, 0.0):
        path.write_text(json.dumps(report | {"epsilon": epsilon}), encoding="utf-8")
        assert codes_of(folder) == {"report-differs"}


@pytest.mark.parametrize(
    "edit", [lambda report: report.update(rounds=8), lambda report: report["log"].update(size=99)]
)
def test_a_report_that_knows_more_than_there_is_is_seen(
    copy: Copy, edit: Callable[[dict[str, Any]], object]
) -> None:
    folder = copy()
    audit(folder.root)
    path = folder.root / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    charge_and_release(folder, 0, 1, RunPlan(), run="run-0")
    assert codes_of(folder) == set()
    edit(report)
    path.write_text(json.dumps(report), encoding="utf-8")
    assert codes_of(folder) == {"report-differs"}


def test_a_page_alone_is_held_against_the_records(copy: Copy) -> None:
    folder = copy()
    audit(folder.root)
    (folder.root / "report.json").unlink()
    assert codes_of(folder) == set()
    page = folder.root / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("Verified", "Certified", 1), encoding="utf-8")
    assert codes_of(folder) == {"report-differs"}
    charge_and_release(folder, 0, 1, RunPlan(), run="run-0")
    assert codes_of(folder) == set()


def test_another_version_of_the_program_must_agree_in_figures_only(copy: Copy) -> None:
    folder = copy()
    audit(folder.root)
    path = folder.root / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    other = report | {"code_digest": "0" * 64, "verdict": "All is well", "more": 1}
    path.write_text(json.dumps(other), encoding="utf-8")
    assert inspect_run(folder.root).findings == ()
    path.write_text(json.dumps(other | {"epsilon": report["epsilon"] / 2}), encoding="utf-8")
    assert codes_of(folder) == {"report-differs"}


def test_an_audit_that_writes_elsewhere_leaves_the_run_as_it_is(copy: Copy, tmp_path: Path) -> None:
    folder = copy()
    (folder.root / "report.json").write_text("{}", encoding="utf-8")
    audit(folder.root, out=tmp_path / "elsewhere")
    assert (folder.root / "report.json").read_text(encoding="utf-8") == "{}"
    assert not (folder.root / "report.contradicted.json").exists()
    shutil.rmtree(tmp_path / "elsewhere")
