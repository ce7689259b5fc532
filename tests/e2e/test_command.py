"""The command as a person uses it: simulate, audit, read ledgers, stop and go on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from common.code import code_digest
from common.config import RunConfig, read_toml, resolve
from tests.command_line import Outcome, run_command, start_command
from tests.made_images import make_images

REPRODUCIBLE = ("--set", "privacy.reproducible-noise=true")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Three classes of 40 images, which differ in their brightness; there is no test/ folder."""
    root = tmp_path_factory.mktemp("bilder für alle")
    return make_images(root, {"train": 40}, classes=("ant", "bee", "cow"), told_apart=True)


@pytest.fixture(scope="module")
def options(images) -> list[str]:
    return [
        "--dataset",
        "folder",
        "--data-dir",
        str(images),
        "--clients",
        "3",
        "--set",
        "data.partitioner=iid",
    ]


Simulate = Callable[..., tuple[Path, Outcome]]


@pytest.fixture(scope="module")
def simulate(options, tmp_path_factory) -> Simulate:
    """Return a function that runs `fedledger simulate` and gives the run's folder and what was printed."""

    def call(*more: str) -> tuple[Path, Outcome]:
        root = tmp_path_factory.mktemp("runs") / "lauf mit ümlaut"
        rounds = () if "--rounds" in more else ("--rounds", "2")
        return root, run_command("simulate", *options, *rounds, *more, "--out", str(root))

    return call


@pytest.fixture(scope="module")
def finished(simulate) -> tuple[Path, Outcome]:
    """Make one private run of 2 rounds and 3 clients, which no test changes."""
    return simulate()


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """Return a copy of the finished run, to damage."""
    return Path(shutil.copytree(finished[0], tmp_path / "run"))


def report_of(root: Path) -> dict:
    return json.loads((root / "report.json").read_text())


def bodies(root: Path, kind: str) -> list[dict]:
    lines = [line for path in sorted((root / "ledgers").iterdir()) for line in path.read_text().splitlines()]
    return [entry for line in lines if (entry := json.loads(line)["entry"])["type"] == kind]


def test_the_version_names_the_code_that_charges_name():
    outcome = run_command("--version")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.strip() == f"fedledger {version('fedledger')}, code {code_digest()}"


def test_a_run_succeeds_and_says_what_it_spent(finished):
    root, outcome = finished
    assert outcome.status == 0
    assert outcome.err == ""
    assert "3 clients joined with 108 examples." in outcome.out  # a tenth of 120 is held out for testing
    assert "Verified: no client spent more than epsilon 8.00 of its 8.00 budget." in outcome.out
    assert f"Report: {root}/report.html" in outcome.out
    assert "NOT PRIVATE" not in outcome.out


def test_the_run_folder_is_whole(finished):
    files = {path.relative_to(finished[0]).as_posix() for path in finished[0].rglob("*") if path.is_file()}
    assert files == {
        "config.toml",
        "rounds.jsonl",
        "model.safetensors",
        "evaluation.json",
        "partitions.json",
        "report.json",
        "report.html",
        "checkpoint/state.json",
        "checkpoint/round-000002.safetensors",
        *(f"ledgers/client-{number}.jsonl" for number in range(3)),
        *(f"keys/client-{number}.{kind}" for number in range(3) for kind in ("key", "salt")),
        "keys/server.key",
        *(f"server/{name}" for name in ("log.jsonl", "checkpoint", "key.pub")),
    }


def test_the_report_tells_everything(finished):
    report = report_of(finished[0])
    assert report["schema"] == "fedledger-report/2"
    assert report["verified"] is True
    assert report["private"] is True
    assert report["stamp"] is None
    assert 7.9 < report["epsilon"] <= 8.0
    assert report["delta"] == 1e-5
    assert [client["num_examples"] for client in report["clients"]] == [36, 36, 36]
    assert [client["charges"] for client in report["clients"]] == [2, 2, 2]
    assert [line["round"] for line in report["by_round"]] == [1, 2]
    assert report["rounds"] == 2
    assert report["findings"] == []
    assert report["settings"]["federation.num-clients"] == 3
    assert report["mechanism"]["noise_sources"] == ["chacha20"]


def test_an_audit_agrees_with_the_run(finished, tmp_path):
    outcome = run_command("audit", str(finished[0]), "--out", str(tmp_path))
    assert outcome.status == 0
    assert "Verified" in outcome.out
    assert report_of(tmp_path) == report_of(finished[0])


def test_an_audit_finds_one_changed_byte(copied):
    path = copied / "ledgers" / "client-1.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    outcome = run_command("audit", str(copied))
    assert outcome.status == 1
    assert "NOT verified: 1 error" in outcome.out
    assert "client 1" in outcome.out
    assert report_of(copied)["verified"] is False


def test_an_audit_of_nothing(tmp_path):
    assert run_command("audit", str(tmp_path / "missing")).status == 2


def test_a_ledger_lists_every_charge(finished):
    path = finished[0] / "ledgers" / "client-2.jsonl"
    outcome = run_command("ledger", "show", str(path), "--json")
    shown = json.loads(outcome.out)
    assert outcome.status == 0
    assert [(m["type"], m["sample_rate"], m["steps"], m["round"]) for m in shown["mechanisms"]] == [
        ("poisson-gaussian", [1, 10], 1, 1),
        ("poisson-gaussian", [1, 10], 1, 2),
    ]
    assert all(0.2 < mechanism["noise_multiplier"] < 2 for mechanism in shown["mechanisms"])
    assert shown["num_examples"] == 36
    kinds = [entry["type"] for entry in shown["entries"]]
    assert kinds == ["GENESIS", *2 * ["RESERVE", "RELEASE", "RECEIPT"]]


@pytest.mark.parametrize(
    ("option", "stamp", "source"),
    [
        (("--no-privacy",), "NOT PRIVATE", "none"),
        (REPRODUCIBLE, "NOT PRIVATE: REPRODUCIBLE NOISE", "reproducible"),
    ],
)
def test_a_run_without_a_guarantee_is_stamped_everywhere(simulate, option, stamp, source):
    root, outcome = simulate(*option, "--rounds", "1")
    assert outcome.status == 0
    assert outcome.out.splitlines()[0] == stamp
    assert f"{stamp}. The records of this run agree" in outcome.out
    assert "Verified" not in outcome.out
    assert report_of(root)["stamp"] == stamp
    assert report_of(root)["private"] is False
    assert stamp in (root / "report.html").read_text()
    assert [body["noise_source"] for body in bodies(root, "RESERVE")] == 3 * [source]
    if source == "none":
        assert {body["mechanisms"][0]["type"] for body in bodies(root, "RESERVE")} == {"unprotected"}
        assert {body["budget_epsilon"] for body in bodies(root, "GENESIS")} == {None}


def test_the_seed_fixes_the_partitions_and_not_the_noise(simulate):
    (one, _), (other, _) = simulate("--seed", "7", "--rounds", "1"), simulate("--seed", "7", "--rounds", "1")
    assert (one / "partitions.json").read_bytes() == (other / "partitions.json").read_bytes()
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_printed_settings_can_be_given_back(simulate, tmp_path):
    printed = run_command("config")
    path = tmp_path / "mine.toml"
    path.write_text(printed.out)
    assert printed.status == 0
    assert resolve(read_toml(path)) == RunConfig()
    root, outcome = simulate("--config", str(path), "--rounds", "1")
    assert outcome.status == 0
    used = resolve(read_toml(root / "config.toml"))
    assert used.training == RunConfig().training
    assert used.federation.num_clients == 3


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read what a command says until it says `text`, which it must before it ends."""
    said = ""
    while text not in said:
        line = process.stdout.readline()
        assert line, f"{text!r} was not said: {said}{process.stderr.read()}"
        said += line
    return said


def interrupted(options: list[str], root: Path, *, times: int) -> tuple[int, str, str]:
    """Start a run of 40 rounds, press Ctrl-C in it, and return exit status and output."""
    process = start_command("simulate", *options, *REPRODUCIBLE, "--rounds", "40", "--out", str(root))
    said = read_until(process, "round 2/40")
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        if "Stopping after this round" not in said:
            said += read_until(process, "Stopping after this round")
    out, err = process.communicate(timeout=60)
    return process.returncode, said + out, err


@pytest.fixture(scope="module")
def uninterrupted(simulate) -> Path:
    root, outcome = simulate(*REPRODUCIBLE, "--rounds", "40")
    assert outcome.status == 0
    return root


@pytest.mark.parametrize("times", [1, 2])
def test_a_run_stopped_by_ctrl_c_goes_on_to_the_same_bits(options, uninterrupted, tmp_path, times):
    root = tmp_path / "run"
    status, out, err = interrupted(options, root, times=times)
    assert status == 130
    assert err == "fedledger: interrupted; a run that has begun can go on with --resume\n"
    if times == 1:
        assert "it can be resumed" in out
        assert f"To go on: fedledger simulate --resume {root}" in out
    before = len((root / "rounds.jsonl").read_text().splitlines())
    assert 2 <= before < 40
    resumed = run_command("simulate", "--resume", str(root), "--workers", "1")
    assert resumed.status == 0
    assert (root / "model.safetensors").read_bytes() == (uninterrupted / "model.safetensors").read_bytes()
    assert len(bodies(root, "RELEASE")) == 3 * 40
    assert report_of(root)["verified"] is True


def test_a_run_goes_on_when_nobody_reads_its_output(options, tmp_path):
    root = tmp_path / "run"
    process = start_command("simulate", *options, "--rounds", "3", "--out", str(root))
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    assert report_of(root)["verified"] is True
    assert report_of(root)["rounds"] == 3
