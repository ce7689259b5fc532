"""Whatever is done to rounds, model, settings or reports of a run, the audit sees it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.audit import Finding, audit, inspect_run, records
from common.audit.records import read_home, read_run
from common.audit.verify_log import check_log
from common.errors import CheckpointError
from common.run_folder import RunFolder
from tests.forgery import lines_of, write_lines
from tests.run_folders import RunPlan, charge_and_release, edit_round

Copy = Callable[[], RunFolder]


def codes_of(folder: RunFolder) -> set[str]:
    """Return the codes of the errors that refute a run."""
    report = inspect_run(folder.root)
    errors = {finding.code for finding in report.findings if finding.severity == "error"}
    assert report.verified is not bool(errors)
    return errors


def test_changed_bytes_of_the_rounds_are_seen(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy()
    beside = read_home(folder.root)
    monkeypatch.setattr(records, "read_home", lambda _: beside)
    data = folder.rounds.read_bytes()
    for place in range(0, len(data) - 1, 5):
        folder.rounds.write_bytes(data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :])
        assert _refused_or_found(folder.root), place


def _refused_or_found(root: Path) -> bool:
    """Say whether the rounds are no longer what a run writes, or not what the log says."""
    try:
        run = read_run(root)
    except CheckpointError:
        return True
    found = {finding.code for finding in check_log(run, [], "run-1")}
    return bool(found & {"round-differs", "round-not-in-log"})


@pytest.mark.parametrize("number", range(1, 8))
def test_every_removed_round_is_seen(copy: Copy, number: int) -> None:
    folder = copy()
    lines = lines_of(folder.rounds)
    del lines[number - 1]
    write_lines(folder.rounds, lines)
    assert codes_of(folder) >= {"round-missing"}


def test_an_invented_round_is_seen(copy: Copy) -> None:
    folder = copy()
    lines = lines_of(folder.rounds)
    last = json.loads(lines[-1])
    write_lines(folder.rounds, [*lines, json.dumps(last | {"round": 8, "participants": [], "updates": {}})])
    assert codes_of(folder) >= {"round-not-in-log"}


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy": 0.99},
        {"participants": [0]},
        {"refused": [{"partition_id": 1, "code": "data"}]},
        {"updates": {}},
    ],
)
def test_every_edited_round_is_seen(copy: Copy, changes: dict[str, Any]) -> None:
    folder = copy()
    edit_round(folder, 4, **changes)
    assert codes_of(folder) >= {"round-differs"}


def test_every_changed_byte_of_the_model_is_seen(copy: Copy) -> None:
    folder = copy()
    data = folder.model.read_bytes()
    for place, byte in enumerate(data):
        folder.model.write_bytes(data[:place] + bytes([byte ^ 0x01]) + data[place + 1 :])
        assert codes_of(folder) == {"model-differs"}


SETTINGS = [
    ("enabled", "true", "false", {"protection-differs", "budget-differs"}),
    ("epsilon", "8.0", "6.0", {"budget-differs"}),
    ("delta", '"auto"', "1e-06", {"delta-differs"}),
    ("noise-multiplier", '"auto"', "4.0", {"noise-multiplier-differs"}),
    ("max-grad-norm", "1.0", "0.5", {"clip-differs"}),
    ("reproducible-noise", "false", "true", {"noise-source-differs"}),
]


@pytest.mark.parametrize(("name", "old", "new", "codes"), SETTINGS)
def test_every_edited_privacy_setting_is_seen(
    copy: Copy, name: str, old: str, new: str, codes: set[str]
) -> None:
    folder = copy()
    _edit_setting(folder, name, old, new)
    assert codes_of(folder) == codes


def _edit_setting(folder: RunFolder, name: str, old: str, new: str) -> None:
    text = folder.config.read_text(encoding="utf-8")
    changed = re.sub(rf"(?m)^{name} = {re.escape(old)}$", f"{name} = {new}", text)
    assert changed != text
    folder.config.write_text(changed, encoding="utf-8")


def test_a_setting_that_no_ledger_repeats_is_seen_where_there_is_a_report(copy: Copy) -> None:
    folder = copy()
    audit(folder.root)
    _edit_setting(folder, "epsilon", "8.0", "9.0")
    assert codes_of(folder) == {"report-differs"}


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
