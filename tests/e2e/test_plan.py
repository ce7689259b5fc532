"""`fedledger plan` as a person uses it: every question, every mistake, the page, and no heavy import."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.command_line import SCRIPT, run_command
from tests.run_folders import RunPlan, write_run


def test_with_defaults_only_the_number_of_examples_is_needed():
    done = run_command("plan", "--examples", "6000")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Keeping to epsilon 8.00 over 200 rounds needs noise multiplier ")
    for words in (
        "Epsilon after each round",
        "In an averaged update",
        "zero-out adjacency",
        "counts as no protection",
    ):
        assert words in " ".join(done.out.split())


def test_what_one_question_answers_another_confirms():
    asked = ("plan", "--examples", "500,6000", "--batch-size", "100", "--participation", "0.5", "--json")
    found = json.loads(run_command(*asked, "--epsilon", "3", "--noise-multiplier", "1.5").out)
    fewest = min(group["rounds"] for group in found["groups"])
    given = ("--epsilon", "3", "--noise-multiplier", "1.5", "--rounds")
    assert run_command(*asked, *given, str(fewest)).status == 0
    refused = run_command(*asked, *given, str(fewest + 2))  # every second round asks a client
    assert refused.status == 1
    assert json.loads(refused.out)["fits"] is False
    spent = json.loads(run_command(*asked, *given[2:], str(fewest)).out)
    assert max(group["epsilon"] for group in spent["groups"]) <= 3


def test_a_runs_partitions_and_ledgers_can_be_planned_on(tmp_path):
    folder = write_run(tmp_path / "run", RunPlan(clients=2))
    again = run_command("plan", "--partitions", str(folder.root), "--rounds", "5", "--json")
    assert json.loads(again.out)["groups"][0]["count"] == 2
    more = run_command("plan", "--ledger", str(folder.ledger(0)), "--json")
    record = json.loads(more.out)
    assert "more rounds at noise multiplier 2.0000" in record["answer"]
    assert record["groups"][0]["spent"] > 1
    rounds = record["groups"][0]["rounds"]
    assert run_command("plan", "--ledger", str(folder.ledger(0)), "--rounds", str(rounds)).status == 0
    assert run_command("plan", "--ledger", str(folder.ledger(0)), "--rounds", str(rounds + 1)).status == 1


def test_what_is_no_ledger_is_named(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("remember the milk\n", encoding="utf-8")
    refused = run_command("plan", "--ledger", str(notes))
    assert (refused.status, refused.out) == (2, "")
    assert f"{notes}: entry 0: it is not an entry" in refused.err


def test_the_page_is_written_where_asked(tmp_path):
    page = tmp_path / "new" / "plan.html"
    done = run_command("plan", "--examples", "500,6000", "--rounds", "20", "--out", str(page))
    assert done.out.rstrip().endswith(f"Page: {page}")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "the number of examples is missing"),
        (["--examples", "6,000"], "without thousands separators"),
        (["--examples", "0"], "the number of examples is 0"),
        (["--examples", "500,600", "--clients", "3"], "--examples names 2 clients"),
        (["--examples", "6000", "--epsilon", "0"], "epsilon is 0.0"),
        (["--examples", "6000", "--epsilon", "eight"], "'eight' is not a valid float"),
        (["--examples", "6000", "--epsilon", "nan"], "epsilon is nan"),
        (["--examples", "6000", "--epsilon", "0.001"], "take fewer steps, a lower sample rate"),
        (["--examples", "6000", "--delta", "0.1"], "at most 1/6000"),
        (["--examples", "6000", "--rounds", "0"], "rounds is 0"),
        (["--examples", "6000", "--noise-multiplier", "1"], "add --epsilon to learn how many rounds"),
        (["--examples", "6000", "--sample-rate", "1.5"], "sample-rate is 1.5"),
        (["--examples", "6000", "--sample-rate", "0.1", "--batch-size", "9"], "both given"),
        (["--examples", "6000", "--participation", "0"], "participation is 0.0"),
        (["--examples", "6000", "--dropout", "1"], "dropout is 1.0"),
        (["--examples", "6000", "--steps", "0"], "steps is 0"),
        (["--examples", "6000", "--parameters", "0"], "parameters is 0"),
        (["--examples", "6000", "--out", "plan.txt"], "ends in .html"),
        (["--partitions", "nowhere.json"], "nowhere.json cannot be read"),
        (["--ledger", "nowhere.jsonl"], "nowhere.jsonl does not exist"),
        (["--examples", "6000", "--ledger", "x"], "both say how many examples there are"),
    ],
)
def test_every_mistake_is_one_clear_line(typed, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_command("plan", *typed)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert done.err.startswith("fedledger: ")
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_planning_needs_neither_torch_nor_flower_and_any_encoding_will_do():
    heavy = "import sys, common.planning.cli; print(sorted({'torch', 'flwr', 'opacus'} & set(sys.modules)))"
    checked = subprocess.run(
        [sys.executable, "-c", heavy], cwd=SCRIPT.parent, capture_output=True, text=True, check=True
    )
    assert checked.stdout.strip() == "[]"
    plain = subprocess.run(
        [sys.executable, str(SCRIPT), "plan", "--examples", "6000", "--rounds", "5"],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "80"},
        capture_output=True,
        check=True,
    )
    assert plain.stdout.isascii()
    assert b"#####" in plain.stdout
    assert b"\\u" not in plain.stdout
