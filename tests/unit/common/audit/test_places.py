"""Whatever can be audited is audited by itself, and says only what applies to it."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from common.audit.auditor import audit, inspect
from common.audit.cli import run
from common.audit.html import render
from common.errors import CheckpointError
from common.run_folder import RunFolder
from tests.forgery import lines_of, write_lines
from tests.run_folders import RunPlan, charge, write_run

Place = Callable[[RunFolder], Path]

PLACES: dict[str, Place] = {
    "run": lambda folder: folder.root,
    "ledgers": lambda folder: folder.root / "ledgers",
    "ledger": lambda folder: folder.ledger(1),
    "log": lambda folder: folder.server,
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "run", RunPlan())


def _home(folder: RunFolder) -> Path:
    """Return a ledger home: ledgers and log without a run."""
    home = folder.root.with_name("home")
    for name in ("ledgers", "server", "keys"):
        shutil.copytree(folder.root / name, home / name)
    return home


def _command(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(run)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("subject", PLACES)
def test_each_subject_is_verified_and_has_a_page(folder: RunFolder, subject: str) -> None:
    report = inspect(PLACES[subject](folder))
    assert (report.subject, report.verified, report.findings) == (subject, True, ())
    assert report.to_json()["subject"] == subject
    assert "Verified" in render(report)


def test_a_ledger_home_is_verified_with_its_log(folder: RunFolder) -> None:
    report = inspect(_home(folder))
    assert (report.subject, report.verified, report.findings) == ("ledgers", True, ())
    assert report.log is not None
    assert (report.log.size, report.log.receipts) == (13, 6)


def test_one_ledger_says_nothing_of_runs_or_logs(folder: RunFolder) -> None:
    report = inspect(folder.ledger(1))
    run_report = inspect(folder.root)
    assert report.clients == (dataclasses.replace(run_report.clients[1], rounds=0),)
    assert (report.epsilon, report.private) == (run_report.epsilon, True)
    assert (report.rounds, report.accuracy, report.log, report.settings) == ((), None, None, {})
    assert (report.evaluation, report.partitions, report.model_hash) == (None, None, None)


def test_a_log_alone_claims_nothing(folder: RunFolder) -> None:
    report = inspect(folder.server)
    assert (report.private, report.clients, report.epsilon, report.stamp) == (False, (), math.inf, "")
    content = report.to_json()
    assert content["log"]["size"] == 13
    assert content["verdict"] == (
        "Verified: the log holds the 13 entries that its server signed, and nothing else is claimed"
    )


@pytest.mark.parametrize("subject", ["ledgers", "ledger", "log"])
def test_only_a_run_gets_a_report_without_being_asked(
    folder: RunFolder, tmp_path: Path, subject: str
) -> None:
    place = PLACES[subject](folder)
    before = sorted(tmp_path.rglob("*"))
    result = _command(str(place))
    assert (result.exit_code, sorted(tmp_path.rglob("*"))) == (0, before)
    assert "Report:" not in result.stdout
    result = _command(str(place), "--out", str(tmp_path / "out"))
    assert f"Report: {tmp_path / 'out' / 'report.html'}" in result.stdout
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["subject"] == subject


@pytest.mark.parametrize(
    ("subject", "file", "code"),
    [
        ("ledger", "ledgers/client-1.jsonl", "chain-broken"),
        ("ledgers", "ledgers/client-0.jsonl", "chain-broken"),
        ("log", "server/log.jsonl", "log-damaged"),
    ],
)
def test_what_is_wrong_exits_with_1(folder: RunFolder, subject: str, file: str, code: str) -> None:
    path = folder.root / file
    lines = lines_of(path)
    write_lines(path, [lines[0], *lines[2:]])
    result = _command(str(PLACES[subject](folder)))
    assert result.exit_code == 1
    assert "NOT verified: 1 error in the records of this" in result.stdout
    assert [finding.code for finding in inspect(PLACES[subject](folder)).findings] == [code]


def test_a_home_knows_ledgers_that_are_gone_or_shorter(folder: RunFolder) -> None:
    home = RunFolder(_home(folder))
    write_lines(home.ledger(0), lines_of(home.ledger(0))[:-1])
    home.ledger(1).unlink()
    errors = {finding.code for finding in inspect(home.root).findings if finding.severity == "error"}
    assert errors == {"ledger-rollback", "ledger-missing"}


def test_a_home_without_its_log_is_noticed(folder: RunFolder) -> None:
    home = _home(folder)
    shutil.rmtree(home / "server")
    (finding,) = inspect(home).findings
    assert (finding.code, finding.severity) == ("log-missing", "error")


def test_charges_of_a_ledger_alone_are_counted_like_those_of_a_run(folder: RunFolder) -> None:
    before = inspect(folder.ledger(0)).epsilon
    charge(folder, 0, 4, RunPlan())
    assert inspect(folder.ledger(0)).epsilon > before


def test_a_ledger_under_another_name_is_read_too(folder: RunFolder, tmp_path: Path) -> None:
    shutil.copy(folder.ledger(1), tmp_path / "mine.txt")
    report = inspect(tmp_path / "mine.txt")
    assert (report.verified, report.clients[0].head) == (True, inspect(folder.ledger(1)).clients[0].head)
    shutil.copy(folder.ledger(1), tmp_path / "client-7.jsonl")
    assert inspect(tmp_path / "client-7.jsonl").clients[0].partition_id == 7


def test_what_is_nothing_of_these_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    for name in ("notes.txt", "empty", "nowhere"):
        with pytest.raises(CheckpointError, match="is not a"):
            audit(tmp_path / name)
