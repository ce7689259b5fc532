"""Sweeps as a person runs them: processes side by side, killed, gone on with, and one pool beside them."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from common.ledger import read_ledger
from tests.command_line import run_command, start_command
from tests.made_images import make_images

pytestmark = pytest.mark.xdist_group("sweep")


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> list[str]:
    """Three classes of 30 images for training and 5 for testing, two clients, two rounds."""
    parts, classes = {"train": 30, "test": 5}, ("ant", "bee", "cow")
    root = make_images(tmp_path_factory.mktemp("images"), parts, classes=classes, told_apart=True)
    place = ["--dataset", "folder", "--data-dir", str(root), "--rounds", "2"]
    return [*place, "--set", "federation.num-clients=2", "--set", "data.partitioner=iid"]


def table(root: Path) -> dict:
    return json.loads((root / "sweep.json").read_text())


def ledger_lines(run: Path) -> list[str]:
    return (run / "ledgers" / "client-0.jsonl").read_text().splitlines()


def charged_rounds(run: Path) -> int:
    return len(read_ledger(run / "ledgers" / "client-0.jsonl").reservations())


def test_a_run_that_fails_ends_no_other_and_is_tried_again_alone(options, tmp_path):
    root = tmp_path / "sweep"
    over = ["--over", "privacy.epsilon=8,1e-9", "--charge", "sum"]
    outcome = run_command("sweep", *options, *over, "--out", str(root))
    assert (outcome.status, outcome.err) == (1, "")
    reason = "epsilon=1e-09 failed: no client took part in round 1"
    assert outcome.out.count(reason) == 2  # when it failed, and below the table
    assert "Best of 2 settings: epsilon=8.0" in outcome.out or "Best of 2 settings: epsilon=8," in outcome.out
    assert "Together the 2 runs cost epsilon 7.99" in outcome.out
    assert [len(row["failures"]) for row in table(root)["settings"]] == [0, 1]
    assert "<polyline" in (root / "sweep.html").read_text()

    before = ledger_lines(root / "runs" / "001")
    again = run_command("sweep", "--resume", str(root))
    assert again.status == 1
    assert ledger_lines(root / "runs" / "001") == before


def test_a_killed_sweep_goes_on_and_repeats_nothing(options, tmp_path):
    root = tmp_path / "sweep"
    seeds = ["--over", "training.learning-rate=0.5,1", "--parallel", "1"]
    process = start_command("sweep", *options, *seeds, "--out", str(root))
    while "1/2" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    process.kill()
    process.wait()
    before = ledger_lines(root / "runs" / "001")
    outcome = run_command("sweep", "--resume", str(root))
    assert outcome.status == 0, outcome.err
    assert ledger_lines(root / "runs" / "001") == before
    assert [row["rounds"] for row in table(root)["settings"]] == [2, 2]
    other = run_command("sweep", *options, "--over", "training.momentum=0,0.5", "--out", str(root))
    assert other.status == 2
    assert "holds a sweep of other settings: go on with it with --resume" in other.err


def test_ctrl_c_stops_the_runs_too_and_says_how_to_go_on(options, tmp_path):
    root = tmp_path / "sweep"
    options = ["400" if option == "2" else option for option in options]
    process = start_command("sweep", *options, "--over", "training.learning-rate=0.5,1", "--out", str(root))
    rounds = root / "runs" / "001" / "rounds.jsonl"
    deadline = time.monotonic() + 120
    while not (rounds.exists() and rounds.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"To go on: fedledger sweep --resume {root}" in out
    assert err == "fedledger: interrupted; a run that has begun can go on with --resume\n"
    assert 0 < charged_rounds(root / "runs" / "001") < 400
    assert not list((root / "runs").glob("*.json"))


def test_halving_goes_on_in_the_same_runs(options, tmp_path):
    root = tmp_path / "sweep"
    outcome = run_command(
        "sweep", *options, "--over", "training.learning-rate=0.001,1", "--strategy", "halving",
        "--charge", "sum", "--out", str(root),
    )  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err
    first, second = table(root)["settings"]
    assert (first["rounds"], second["rounds"]) == (2, 1)
    assert charged_rounds(root / "runs" / f"{first['number']:03d}") == 2
    assert charged_rounds(root / "runs" / f"{second['number']:03d}") == 1
    assert second["epsilon"] < first["epsilon"] < table(root)["cost"]["epsilon"]


def test_private_selection_leaves_one_run_and_shows_no_other(options, tmp_path):
    root = tmp_path / "sweep"
    outcome = run_command(
        "sweep", *options, "--over", "training.learning-rate=0.5,1", "--strategy", "random",
        "--charge", "selection", "--trials", "geometric:1.5", "--out", str(root),
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert {path.name for path in root.iterdir()} == {"plan.json", "best", "sweep.json", "sweep.html"}
    assert table(root)["cost"]["epsilon"] > table(root)["settings"][0]["epsilon"]
    assert run_command("audit", str(root / "best"), "--out", str(tmp_path)).status == 0
    assert run_command("sweep", "--resume", str(root)).status == 2


def test_one_pool_beside_a_federation(options, tmp_path):
    federated, central = tmp_path / "fed", tmp_path / "pool"
    assert run_command("simulate", *options, "--out", str(federated)).status == 0
    before = {path: path.stat().st_mtime_ns for path in federated.rglob("*")}
    outcome = run_command("train", "--central", "--beside", str(federated), "--out", str(central))
    assert (outcome.status, outcome.err) == (0, "")
    assert "1 client joined with 90 examples." in outcome.out
    assert f"one pool, epsilon 8.00: {central}" in outcome.out
    assert (central / "comparison.html").read_text().count("<polyline") == 2
    assert {path: path.stat().st_mtime_ns for path in federated.rglob("*")} == before
    plain = run_command("report", "compare", str(federated), str(central))
    assert plain.out.strip() in outcome.out
