"""A whole audit, from files to figures."""

from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction
from pathlib import Path

import pytest

from common.audit import AuditReport, audit, inspect_run, verdict
from common.errors import CheckpointError
from common.ledger import Reserve
from common.privacy.accounting import epsilon_pld, epsilon_rdp, epsilon_unamplified
from common.privacy.mechanisms import PoissonGaussian
from tests.run_folders import RunPlan, charge, charge_and_release, sha256, write_run


def _epsilon(steps: int) -> float:
    mechanism = PoissonGaussian(noise_multiplier=2.0, sample_rate=Fraction(1, 5), num_steps=steps)
    return epsilon_pld([mechanism], 1e-5)


def _codes(report: AuditReport) -> list[str]:
    return [finding.code for finding in report.findings]


def test_a_faithful_run_is_verified_and_its_epsilon_composes_all_rounds(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    report = audit(folder.root)
    assert (report.verified, report.private, report.stamp, report.findings) == (True, True, "", ())
    assert report.epsilon == _epsilon(6)
    assert [entry.epsilon for entry in report.rounds] == [_epsilon(2), _epsilon(4), _epsilon(6)]
    assert report.accuracy == pytest.approx(0.7)
    assert (report.run, report.data) == ("run-1", "Made-up shapes.")


def test_a_client_report_repeats_the_ledger(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    client = audit(folder.root).clients[1]
    mechanism = PoissonGaussian(noise_multiplier=2.0, sample_rate=Fraction(1, 5), num_steps=6)
    assert (client.partition_id, client.num_examples, client.delta, client.budget) == (1, 50, 1e-5, 8.0)
    assert (client.steps, client.rounds, client.charges, client.entries) == (6, 3, 3, 10)
    assert client.epsilon_rdp == epsilon_rdp([mechanism], 1e-5)
    assert client.epsilon_unamplified == epsilon_unamplified([mechanism], 1e-5)
    last = folder.ledger(1).read_text(encoding="utf-8").splitlines()[-1]
    assert client.head == sha256(last)


def test_report_json_holds_the_promised_fields(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    report = audit(folder.root)
    content = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))
    assert content["schema"] == "fedledger-report/2"
    assert (content["verified"], content["private"], content["stamp"]) == (True, True, None)
    assert (content["epsilon"], content["delta"]) == (report.epsilon, 1e-5)
    assert content["epsilon_by_round"] == [entry.epsilon for entry in report.rounds]
    assert (content["accuracy"], content["rounds"]) == (pytest.approx(0.7), 3)
    assert content["clients"][0]["epsilon"] == report.epsilon
    assert content["settings"]["privacy.epsilon"] == 8.0
    assert content["versions"]["torch"] == "2.14.1"
    assert {"python", "fedledger", "dp-accounting", "flwr", "opacus"} <= set(content["versions"])
    assert {"unit", "adjacency", "adversary", "covers", "does_not_cover", "undetectable"} <= set(
        content["claim"]
    )
    assert content["verdict"] == verdict(report)
    assert content["evaluation"]["per_class"][0]["class"] == "circle"


def test_the_report_is_the_same_every_time_and_leaves_no_other_file(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    before = {file.name for file in folder.root.iterdir()}
    audit(folder.root)
    first = [(folder.root / name).read_bytes() for name in ("report.json", "report.html")]
    audit(folder.root)
    assert [(folder.root / name).read_bytes() for name in ("report.json", "report.html")] == first
    assert {file.name for file in folder.root.iterdir()} == before | {"report.json", "report.html"}


def test_inspecting_writes_nothing_and_out_writes_elsewhere(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RunPlan())
    inspect_run(folder.root)
    audit(folder.root, out=tmp_path / "elsewhere")
    assert not (folder.root / "report.json").exists()
    assert (tmp_path / "elsewhere" / "report.html").exists()


def test_a_charge_without_an_update_counts_and_is_noted(tmp_path: Path) -> None:
    plan = RunPlan()
    folder = write_run(tmp_path, plan)
    charge(folder, 0, 4, plan)
    report = audit(folder.root)
    assert report.verified
    assert _codes(report) == ["unused-charge"]
    assert report.epsilon == _epsilon(8)
    assert report.rounds[-1].epsilon == _epsilon(6)
    assert report.clients[0].rounds == 3


def test_another_run_on_the_same_data_counts(tmp_path: Path) -> None:
    plan = RunPlan()
    folder = write_run(tmp_path, plan)
    charge_and_release(folder, 1, 1, plan, run="run-0")
    report = audit(folder.root)
    assert _codes(report) == ["other-runs"]
    assert (report.run, report.clients[1].epsilon) == ("run-1", _epsilon(8))
    assert report.clients[0].epsilon == _epsilon(6)


def test_spending_more_than_the_budget_is_an_error(tmp_path: Path) -> None:
    spent = _epsilon(6)
    within = RunPlan(settings={"privacy.epsilon": spent}, clients=1)
    assert audit(write_run(tmp_path / "within", within).root).verified
    above = RunPlan(settings={"privacy.epsilon": spent * 0.999}, clients=1)
    report = audit(write_run(tmp_path / "above", above).root)
    assert _codes(report) == ["budget-exceeded"]
    assert not report.verified


def test_training_without_privacy_is_stamped_and_verified(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(settings={"privacy.enabled": False}))
    report = audit(folder.root)
    content = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))
    assert (report.verified, report.private, report.stamp) == (True, False, "NOT PRIVATE")
    assert report.epsilon == math.inf
    assert (content["epsilon"], content["stamp"], content["private"]) == (None, "NOT PRIVATE", False)
    assert content["epsilon_by_round"] == [None] * 3


def _reproducible(body: Reserve, _: int) -> Reserve:
    return dataclasses.replace(body, noise_source="reproducible")


def test_reproducible_noise_is_stamped(tmp_path: Path) -> None:
    plan = RunPlan(settings={"privacy.reproducible-noise": True}, change=_reproducible)
    report = audit(write_run(tmp_path, plan).root)
    assert (report.verified, report.private) == (True, False)
    assert report.stamp == "NOT PRIVATE: REPRODUCIBLE NOISE"
    assert report.epsilon == _epsilon(6)


def test_settings_stamp_a_run_that_has_not_charged_anything_yet(tmp_path: Path) -> None:
    plan = RunPlan(settings={"privacy.enabled": False}, rounds=0)
    assert audit(write_run(tmp_path, plan).root).stamp == "NOT PRIVATE"


def test_the_ledger_stamps_a_run_whose_settings_deny_it(tmp_path: Path) -> None:
    report = audit(write_run(tmp_path, RunPlan(change=_reproducible)).root)
    assert (report.verified, report.stamp) == (False, "NOT PRIVATE: REPRODUCIBLE NOISE")
    assert _codes(report) == ["noise-source-differs"] * 2


def test_a_damaged_ledger_is_an_error_and_the_others_are_audited(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    text = folder.ledger(0).read_text(encoding="utf-8")
    folder.ledger(0).write_text(text.replace('"steps":2', '"steps":1', 1), encoding="utf-8")
    report = audit(folder.root)
    assert _codes(report) == ["signature-wrong"]
    assert (report.verified, report.unreadable) == (False, (0,))
    assert [client.partition_id for client in report.clients] == [1]
    assert report.epsilon == _epsilon(6)


def test_if_every_ledger_is_damaged_nothing_is_claimed(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    folder.ledger(0).write_text("{}\n", encoding="utf-8")
    report = audit(folder.root)
    assert (report.verified, report.epsilon, report.clients) == (False, math.inf, ())
    assert [entry.epsilon for entry in report.rounds] == [math.inf] * 3


def test_accuracy_that_is_not_a_number_becomes_null(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(rounds=1))
    folder.rounds.write_text(
        folder.rounds.read_text(encoding="utf-8").replace("0.5", "NaN"), encoding="utf-8"
    )
    folder.evaluation.unlink()
    audit(folder.root)
    assert json.loads((folder.root / "report.json").read_text(encoding="utf-8"))["accuracy"] is None


def test_many_clients_with_one_history_share_its_epsilon(tmp_path: Path) -> None:
    report = inspect_run(write_run(tmp_path, RunPlan(clients=60, rounds=2)).root)
    assert (report.verified, len(report.clients)) == (True, 60)
    assert {client.epsilon for client in report.clients} == {_epsilon(4)}


@pytest.mark.parametrize("name", ["config", "rounds"])
def test_a_folder_without_its_files_is_no_run(tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    getattr(folder, name).unlink()
    with pytest.raises(CheckpointError):
        audit(folder.root)


def test_the_report_says_who_was_left_out_and_why(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    lines = [json.loads(line) for line in folder.rounds.read_text().splitlines()]
    late = {"partition_id": 7, "code": "message", "reason": "it did not answer <in> time"}
    lines[0]["refused"] = [{"partition_id": -1, "code": "ledger", "reason": "no ledger"}]
    lines[1]["refused"] = [late, {"partition_id": 6, "code": "policy-refused", "reason": "too little noise"}]
    lines[2]["refused"] = [late]
    folder.rounds.write_text("".join(json.dumps(line) + "\n" for line in lines))
    content = audit(folder.root).to_json()
    assert [(one["partition_id"], one["round"], one["times"]) for one in content["left_out"]] == [
        (-1, 1, 1),
        (6, 2, 1),
        (7, 2, 2),
    ]
    assert content["left_out"][2]["reason"] == late["reason"]
    assert content["refusals"] == {"ledger": 1, "message": 2, "policy-refused": 1}
    page = (folder.root / "report.html").read_text(encoding="utf-8")
    assert "a node without a number, round 1: no ledger" in page
    assert "client 6, round 2: too little noise" in page
    assert "client 7, 2 rounds from 2 on: it did not answer &lt;in&gt; time" in page
