"""Each contradiction between rounds, ledgers and model has its own finding."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.audit import Finding, inspect_run
from common.run_folder import RunFolder
from tests.run_folders import RunPlan, charge, charge_and_release, edit_round, sha256, write_run

Spoil = Callable[[RunFolder], object]


def _findings(tmp_path: Path, spoil: Spoil, plan: RunPlan | None = None) -> list[Finding]:
    folder = write_run(tmp_path, plan or RunPlan())
    spoil(folder)
    return list(inspect_run(folder.root).findings)


def _forget_client(folder: RunFolder) -> None:
    folder.ledger(1).unlink()


def _same_ledger_twice(folder: RunFolder) -> None:
    shutil.copy(folder.ledger(0), folder.ledger(1))


def _drop_second_line(folder: RunFolder) -> None:
    lines = folder.rounds.read_text(encoding="utf-8").splitlines()
    folder.rounds.write_text("\n".join([lines[0], lines[2], ""]), encoding="utf-8")


ERRORS: list[tuple[str, Spoil, set[str], str]] = [
    ("model replaced", lambda f: f.model.write_text("other"), {"model-differs"}, "model.safetensors"),
    ("model removed", lambda f: f.model.unlink(), {"model-missing"}, "model.safetensors"),
    ("ledger removed", _forget_client, {"ledger-missing"}, "rounds.jsonl round 1"),
    (
        "ledger copied",
        _same_ledger_twice,
        {"ledger-shared", "ledger-swapped", "update-differs", "unused-charge"},
        "ledgers/client-1.jsonl",
    ),
    (
        "round removed",
        _drop_second_line,
        {"rounds-out-of-order", "model-chain-broken", "round-missing", "unused-charge", "run-unfinished"},
        "rounds.jsonl line 2",
    ),
    (
        "round started elsewhere",
        lambda f: edit_round(f, 2, input_model=sha256("other")),
        {"model-chain-broken", "input-model-differs", "round-differs"},
        "rounds.jsonl round 2",
    ),
    (
        "update exchanged",
        lambda f: edit_round(f, 2, updates={"0": sha256("update 0 2"), "1": sha256("other")}),
        {"update-differs", "unused-charge", "round-differs"},
        "rounds.jsonl round 2",
    ),
    (
        "participant hidden",
        lambda f: edit_round(f, 2, participants=[0]),
        {"participants-differ", "round-differs"},
        "rounds.jsonl round 2",
    ),
    (
        "participant invented",
        lambda f: edit_round(f, 2, participants=[0, 1, 5]),
        {"participants-differ", "ledger-missing", "round-differs"},
        "rounds.jsonl round 2",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "codes", "where"), [case[1:] for case in ERRORS], ids=[c[0] for c in ERRORS]
)
def test_a_contradiction_is_an_error(tmp_path: Path, spoil: Spoil, codes: set[str], where: str) -> None:
    findings = _findings(tmp_path, spoil)
    assert {finding.code for finding in findings} == codes
    assert (findings[0].severity, findings[0].where) == ("error", where)


def _with_ledger_of(tmp_path: Path, more: Callable[[RunFolder, RunPlan], object]) -> list[str]:
    """Audit three rounds, not logged, of a client whose ledger holds two, and what `more` adds to them."""
    plan = RunPlan(clients=1, logged=False)
    short = write_run(tmp_path / "short", RunPlan(clients=1, rounds=2, logged=False))
    more(short, plan)
    findings = _findings(tmp_path / "run", lambda run: shutil.copy(short.ledger(0), run.ledger(0)), plan)
    return [finding.code for finding in findings]


def test_a_round_without_a_charge(tmp_path: Path) -> None:
    assert _with_ledger_of(tmp_path, lambda *_: None) == ["charge-missing", "log-missing"]


def test_a_charge_without_a_release(tmp_path: Path) -> None:
    codes = _with_ledger_of(tmp_path, lambda folder, plan: charge(folder, 0, 3, plan))
    assert codes == ["release-missing", "unused-charge", "log-missing"]


def test_a_charge_repeated_after_a_crash_is_matched_by_its_update(tmp_path: Path) -> None:
    plan = RunPlan(clients=1, rounds=1)
    folder = write_run(tmp_path / "crashed", RunPlan(clients=1, rounds=0))
    charge(folder, 0, 1, plan)
    again = write_run(tmp_path / "crashed", plan)
    report = inspect_run(again.root)
    assert [finding.code for finding in report.findings] == ["unused-charge"]
    assert report.findings[0].where == "ledgers/client-0.jsonl entry 1"
    assert (report.clients[0].steps, report.clients[0].rounds) == (4, 1)


def test_a_charge_of_another_run_pays_for_nothing_here(tmp_path: Path) -> None:
    codes = _with_ledger_of(
        tmp_path, lambda folder, plan: charge_and_release(folder, 0, 3, plan, run="run-0")
    )
    assert codes == ["charge-missing", "other-runs", "log-missing"]


def test_what_weakens_trust_is_a_warning(tmp_path: Path) -> None:
    def spoil(folder: RunFolder) -> None:
        (folder.root / "ledgers" / "copy.jsonl").write_text("", encoding="utf-8")
        edit_round(folder, 3, accuracy=0.1)

    findings = _findings(tmp_path, spoil, RunPlan(logged=False))
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("stray-ledger", "warning"),
        ("evaluation-differs", "warning"),
        ("log-missing", "note"),
    ]


@pytest.mark.parametrize(
    ("planned", "code", "severity"), [(5, "run-unfinished", "note"), (2, "more-rounds", "warning")]
)
def test_rounds_are_held_against_the_plan(tmp_path: Path, planned: int, code: str, severity: str) -> None:
    plan = RunPlan(settings={"federation.num-server-rounds": planned})
    findings = _findings(tmp_path, lambda _: None, plan)
    assert [(finding.code, finding.severity) for finding in findings] == [(code, severity)]


def test_a_run_without_a_round_has_no_model_to_miss(tmp_path: Path) -> None:
    findings = _findings(tmp_path, lambda folder: folder.model.unlink(), RunPlan(rounds=0))
    assert [(finding.code, finding.severity) for finding in findings] == [("no-rounds", "warning")]
