"""Runs side by side: what is read of each, and how chart and table say it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common.audit import audit
from common.comparing.cli import compare
from common.comparing.html import accuracy_scale, render
from common.comparing.runs import read_runs
from common.comparing.text import as_record, as_text, difference
from common.errors import CheckpointError, ConfigError
from tests.run_folders import RunPlan, write_run


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """A federation of two clients after 3 rounds, and one pool after 4."""
    federated = write_run(tmp_path / "fed", RunPlan())
    central = write_run(tmp_path / "pool", RunPlan(clients=1, rounds=4))
    return [federated.root, central.root]


def test_a_run_is_read_as_its_audit_has_it(folders: list[Path]) -> None:
    federated, central = read_runs(folders)
    report = audit(folders[0])
    assert (federated.kind, central.kind) == ("2 clients, epsilon 8.00", "one pool, epsilon 8.00")
    assert federated.accuracies == ((1, 0.5), (2, pytest.approx(0.6)), (3, pytest.approx(0.7)))
    assert (federated.epsilon, federated.delta) == (report.epsilon, report.delta)
    assert (federated.verified, federated.rounds, central.rounds) == (True, 3, 4)
    assert federated.seconds == pytest.approx(0.3)


def test_nothing_is_written_into_a_run(folders: list[Path]) -> None:
    before = sorted(path for folder in folders for path in folder.rglob("*"))
    read_runs(folders)
    assert sorted(path for folder in folders for path in folder.rglob("*")) == before


def test_runs_of_one_kind_are_told_apart_by_their_names(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, RunPlan()).root for name in ("a", "b")]
    assert [run.kind for run in read_runs(paths)] == [
        "a: 2 clients, epsilon 8.00",
        "b: 2 clients, epsilon 8.00",
    ]


def test_a_run_without_privacy_is_named_so(tmp_path: Path, folders: list[Path]) -> None:
    plain = write_run(tmp_path / "plain", RunPlan(settings={"privacy.enabled": False}))
    _, run = read_runs([folders[0], plain.root])
    assert (run.kind, run.stamp) == ("2 clients, no privacy", "NOT PRIVATE")
    assert as_record([run, run])[0]["epsilon"] is None
    assert "no limit" in as_text([run, run])


def test_a_run_whose_records_contradict_each_other_is_not_verified(folders: list[Path]) -> None:
    ledger = folders[0] / "ledgers" / "client-1.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"round":1', b'"round":2', 1))
    federated, _ = read_runs(folders)
    assert not federated.verified
    assert "NOT verified" in as_text([federated, federated])


@pytest.mark.parametrize(("number", "line"), [(1, "1 run cannot"), (7, "7 runs cannot be compared")])
def test_a_chart_holds_two_to_six(folders: list[Path], number: int, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        read_runs([folders[0]] * number)


def test_a_run_is_named_once(folders: list[Path]) -> None:
    with pytest.raises(ConfigError, match="is named twice"):
        read_runs([folders[0], folders[0].parent / "pool" / ".." / "fed"])


def test_what_is_no_run_is_named(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run folder"):
        read_runs([folders[0], tmp_path / "nowhere"])


def test_how_far_the_first_two_are_apart(folders: list[Path]) -> None:
    runs = read_runs(folders)
    assert difference(runs) == (
        "The accuracy of one pool, epsilon 8.00 is 10.00 points above that of 2 clients, epsilon 8.00."
    )
    assert "is 10.00 points below that of one pool" in difference([runs[1], runs[0]])
    assert difference([runs[0], replace(runs[1], accuracies=())]) == ""


def test_the_chart_has_a_line_for_each_run_and_nothing_runs_in_the_page(folders: list[Path]) -> None:
    page = render(read_runs(folders))
    assert page.count("<polyline") == 2
    assert "one pool, epsilon 8.00, round 4: 80.00 %" in page
    assert "<script" not in page


def test_a_folder_with_a_strange_name_is_escaped(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, RunPlan()).root for name in ("<i>a", "b")]
    assert "<i>" not in render(read_runs(paths))


def test_one_accuracy_alone_has_a_scale() -> None:
    scale = accuracy_scale([0.5])
    assert scale.low < 0.5 < scale.high


def test_the_command(folders: list[Path], tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(compare)
    page = tmp_path / "page.html"
    names = [str(folder) for folder in folders]
    shown = CliRunner().invoke(app, [*names, "--html", str(page)])
    assert shown.exit_code == 0
    assert f"Page: {page}" in shown.stdout
    assert "<polyline" in page.read_text()
    record = json.loads(CliRunner().invoke(app, [*names, "--json"]).stdout)
    assert [run["accuracy"] for run in record] == pytest.approx([0.7, 0.8])
