"""The command: its screen and its exit status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common.audit.cli import run
from common.errors import CheckpointError
from tests.run_folders import RunPlan, write_run


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(run)
    return app


def test_a_verified_run_exits_with_0(tmp_path: Path, app: typer.Typer) -> None:
    folder = write_run(tmp_path, RunPlan())
    result = CliRunner().invoke(app, [str(folder.root)])
    assert result.exit_code == 0
    assert result.stdout.startswith("Verified: no client spent more than epsilon")
    assert "Findings: none." in result.stdout
    assert f"Report: {folder.root / 'report.html'}" in result.stdout
    assert "\nserver's log   13 entries, signed by fedledger.server/" in result.stdout
    assert (
        "\nworst served   class circle 70.0 %; client 0 70.0 %, deviation between clients 0.0 points\n"
        in result.stdout
    )
    assert [line.split()[0] for line in result.stdout.splitlines()[8:11]] == ["client", "0", "1"]
    assert "\ncross-check: epsilon by RDP, coarser and expected above it\n" in result.stdout


def test_an_error_exits_with_1_and_is_named(tmp_path: Path, app: typer.Typer) -> None:
    folder = write_run(tmp_path, RunPlan())
    folder.model.unlink()
    result = CliRunner().invoke(app, [str(folder.root)])
    assert result.exit_code == 1
    assert "NOT verified: 1 error" in result.stdout
    assert "error: The trained model is not in the run folder. [model.safetensors]" in result.stdout


def test_a_note_exits_with_0(tmp_path: Path, app: typer.Typer) -> None:
    plan = RunPlan(settings={"federation.num-server-rounds": 9})
    result = CliRunner().invoke(app, [str(write_run(tmp_path, plan).root)])
    assert result.exit_code == 0
    assert "note: The run ended after 3 of 9 planned rounds." in result.stdout


def test_no_run_is_a_user_error_for_which_the_command_exits_with_2(tmp_path: Path, app: typer.Typer) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "nowhere")])
    assert isinstance(result.exception, CheckpointError)
    assert "is not a run folder" in str(result.exception)
    assert result.stdout == ""


def test_no_privacy_exits_with_0_and_is_stamped(tmp_path: Path, app: typer.Typer) -> None:
    plan = RunPlan(settings={"privacy.enabled": False})
    result = CliRunner().invoke(app, [str(write_run(tmp_path, plan).root)])
    assert result.exit_code == 0
    assert result.stdout.startswith("NOT PRIVATE. ")
    assert "no limit" in result.stdout


def test_many_clients_are_summed_up_and_findings_shortened(tmp_path: Path, app: typer.Typer) -> None:
    folder = write_run(tmp_path, RunPlan(clients=25, rounds=1))
    for client in range(10):
        folder.ledger(client).unlink()
    for client in range(10, 18):
        folder.ledger(client).write_text("{}\n", encoding="utf-8")
    result = CliRunner().invoke(app, [str(folder.root)])
    assert "error: and 5 more of ledger-missing" in result.stdout
    assert "error: and 3 more of entry-not-canonical" in result.stdout
    assert "7 ledgers verified, 8 not readable" in result.stdout


@pytest.mark.parametrize("lost", [False, True])
def test_the_largest_epsilon_is_that_of_the_ledgers_that_can_be_read(
    tmp_path: Path, app: typer.Typer, lost: bool
) -> None:
    folder = write_run(tmp_path, RunPlan(clients=3))
    folder.ledger(2).unlink() if lost else folder.ledger(2).write_text("{}\n", encoding="utf-8")
    shown = CliRunner().invoke(app, [str(folder.root)]).stdout
    assert re.search(r"^epsilon +\d\.\d+ at delta 1e-5, largest of the 2 that can be read$", shown, re.M)
    assert "Largest epsilon of the 2 that can be read" in (folder.root / "report.html").read_text()
    (folder.ledger(1)).write_text("{}\n", encoding="utf-8")
    shown = CliRunner().invoke(app, [str(folder.root)]).stdout
    assert "at delta 1e-5, largest of the one that can be read" in shown


def test_without_a_ledger_that_can_be_read_there_is_neither_epsilon_nor_delta(
    tmp_path: Path, app: typer.Typer
) -> None:
    file = write_run(tmp_path / "run", RunPlan(clients=1)).ledger(0).rename(tmp_path / "corrupt.jsonl")
    file.write_bytes(file.read_bytes().replace(b"train", b"brain"))
    shown = CliRunner().invoke(app, [str(file), "--out", str(tmp_path / "out")]).stdout
    assert "\nepsilon        not known: no ledger can be read\n" in shown
    assert "delta" not in shown
    assert "error: The ledger corrupt.jsonl holds an entry" in shown
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<dd id="epsilon">not known</dd>' in page
    assert 'id="delta"' not in page


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path, app: typer.Typer) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    (folder.root / "ledgers" / "a\x1b[2Jb.jsonl").write_text("", encoding="utf-8")
    result = CliRunner().invoke(app, [str(folder.root)])
    assert "\x1b" not in result.stdout
    assert "a?[2Jb.jsonl" in result.stdout
