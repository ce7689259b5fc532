"""The commands around reports: schema and diff, and what they print."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common.audit.diff import Change
from common.audit.diff_text import difference_text, value_text
from common.audit.report_cli import diff, schema
from common.errors import CheckpointError
from tests.run_folders import RunPlan, charge_and_release, write_run


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("diff")(diff)
    app.command("schema")(schema)
    return app


def test_the_schema_is_printed_as_it_is(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert (result.exit_code, json.loads(result.stdout)["$id"]) == (0, "urn:fedledger:report:2")


def test_a_difference_is_a_table_for_people(tmp_path: Path, app: typer.Typer) -> None:
    first = write_run(tmp_path / "a", RunPlan()).root
    second = write_run(tmp_path / "b", RunPlan(rounds=4, settings={"privacy.epsilon": 9.0})).root
    result = CliRunner().invoke(app, ["diff", str(first), str(second)])
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:2] == [f"A {first}", f"B {second}"]
    assert "rounds 3 4 +1" in lines
    assert "accuracy 70.00 % 80.00 % +10.00 points" in lines
    assert "privacy.epsilon 8.0 9.0" in lines
    assert "Epsilon of clients, paired by number though their ledgers differ" in lines
    assert any(re.fullmatch(r"client 1 1\.\d{4} 1\.\d{4} \+0\.\d{4}", line) for line in lines)
    assert "No ledger is in both, so nothing shows that they are about the same data." in lines


def test_a_fork_is_shouted(tmp_path: Path, app: typer.Typer) -> None:
    folder = write_run(tmp_path / "a", RunPlan())
    shutil.copytree(folder.root, tmp_path / "b")
    charge_and_release(folder, 1, 1, RunPlan(logged=False, noise_multiplier=3.0), run="x")
    copy = type(folder)(tmp_path / "b")
    charge_and_release(copy, 1, 1, RunPlan(logged=False), run="y")
    result = CliRunner().invoke(app, ["diff", str(folder.root), str(copy.root)])
    assert "1 ledger FORKED: neither goes on from the other" in result.stdout
    assert "1 ledger are the same" not in result.stdout
    assert "1 ledger is the same in both" in result.stdout


def test_the_same_for_programs(tmp_path: Path, app: typer.Typer) -> None:
    first = write_run(tmp_path / "a", RunPlan()).root
    second = write_run(tmp_path / "b", RunPlan(settings={"privacy.enabled": False})).root
    result = CliRunner().invoke(app, ["diff", "--json", str(first), str(second)])
    content = json.loads(result.stdout)
    largest = next(change for change in content["outcome"] if change["name"] == "largest epsilon")
    assert (largest["kind"], largest["second"]) == ("epsilon", None)
    assert content["only_first"] == 2
    assert content["gone_findings"] == []


def test_the_same_as_a_page(tmp_path: Path, app: typer.Typer) -> None:
    hostile = '<script>alert("1")</script>'
    first = write_run(tmp_path / "a", RunPlan(settings={"data.data-dir": hostile})).root
    second = write_run(tmp_path / "b", RunPlan(rounds=4)).root
    page = tmp_path / "diff.html"
    CliRunner().invoke(app, ["diff", str(first), str(second), "--html", str(page)])
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text
    assert "+10.00 points" in text


def test_many_changes_are_shortened_to_the_largest(tmp_path: Path, app: typer.Typer) -> None:
    first = write_run(tmp_path / "a", RunPlan(clients=25, rounds=1)).root
    folder = write_run(tmp_path / "b", RunPlan(clients=25, rounds=2))
    charge_and_release(folder, 24, 1, RunPlan(logged=False), run="more")
    result = CliRunner().invoke(app, ["diff", str(first), str(folder.root)])
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "and 5 more; --json has all" in lines
    assert lines[
        lines.index("Epsilon of clients, paired by number though their ledgers differ") + 1
    ].startswith("client 24")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path, app: typer.Typer) -> None:
    first = write_run(tmp_path / "a", RunPlan()).root
    second = write_run(tmp_path / "b", RunPlan(settings={"data.data-dir": "x\x1b[2J"})).root
    result = CliRunner().invoke(app, ["diff", str(first), str(second)])
    assert "\x1b" not in result.stdout


def test_what_cannot_be_read_is_a_mistake(tmp_path: Path, app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["diff", str(tmp_path / "x"), str(tmp_path / "y")])
    assert isinstance(result.exception, CheckpointError)


def test_values_in_words() -> None:
    assert value_text("epsilon", None) == "no limit"
    assert value_text("epsilon", 1.00001) == "1.0001"
    assert value_text("delta", 1e-5) == "1e-5"
    assert value_text("share", None) == "none"
    assert (value_text("text", True), value_text("text", 3)) == ("yes", "3")


def test_differences_in_words() -> None:
    assert difference_text(Change(name="", kind="epsilon", first=1.0, second=0.5)) == "-0.5000"
    assert difference_text(Change(name="", kind="epsilon", first=1.0, second=None)) == ""
    assert difference_text(Change(name="", kind="count", first=1, second=1)) == ""
    assert difference_text(Change(name="", kind="text", first="a", second="b")) == ""
