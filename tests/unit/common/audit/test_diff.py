"""What differs between two reports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from common.audit import audit
from common.audit.diff import Change, Comparison, Relation, compare
from common.audit.report_files import read_source
from common.run_folder import RunFolder
from tests.run_folders import RunPlan, charge_and_release, write_run


def _compare(first: Path, second: Path) -> Comparison:
    return compare(read_source(first), read_source(second))


def _copy(folder: RunFolder, name: str) -> RunFolder:
    return RunFolder(Path(shutil.copytree(folder.root, folder.root.parent / name)))


def _named(changes: tuple[Change, ...]) -> dict[str, tuple[Any, Any]]:
    return {change.name: (change.first, change.second) for change in changes}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "a", RunPlan())


def test_a_run_does_not_differ_from_itself(folder: RunFolder) -> None:
    comparison = _compare(folder.root, _copy(folder, "b").root)
    assert not any(change.differs for change in comparison.outcome)
    assert (comparison.clients, comparison.classes, comparison.settings, comparison.mechanism) == ((),) * 4
    assert (comparison.versions, comparison.new_findings, comparison.gone_findings) == ((),) * 3
    assert [pair.relation for pair in comparison.ledgers] == ["same", "same"]
    assert (comparison.only_first, comparison.only_second) == (0, 0)


def test_another_run_on_new_data_differs_where_it_was_changed(tmp_path: Path, folder: RunFolder) -> None:
    plan = RunPlan(rounds=4, noise_multiplier=3.0, settings={"data.dataset": "cifar10"})
    other = write_run(tmp_path / "b", plan)
    comparison = _compare(folder.root, other.root)
    outcome = _named(comparison.outcome)
    assert outcome["rounds"] == (3, 4)
    assert outcome["accuracy"] == pytest.approx((0.7, 0.8))
    assert outcome["largest epsilon"][0] > outcome["largest epsilon"][1] > 0
    assert outcome["largest epsilon"] == outcome["guaranteed epsilon"]
    assert _named(comparison.settings)["data.dataset"] == ("synthetic", "cifar10")
    assert _named(comparison.mechanism) == {"noise multipliers": ("2.0", "3.0")}
    assert (comparison.ledgers, comparison.only_first, comparison.only_second) == ((), 2, 2)
    assert [change.name for change in comparison.clients] == ["client 0", "client 1"]


def _grow(folder: RunFolder, client: int, run: str = "run-2") -> None:
    charge_and_release(folder, client, 1, RunPlan(logged=False), run=run)


def _relations(first: Path, second: Path) -> list[Relation]:
    return [pair.relation for pair in _compare(first, second).ledgers]


def test_a_ledger_that_goes_on_is_told_from_one_that_forked(folder: RunFolder) -> None:
    longer = _copy(folder, "b")
    _grow(longer, 0)
    assert _relations(folder.root, longer.root) == ["continued", "same"]
    assert _relations(longer.root, folder.root) == ["earlier", "same"]
    _grow(folder, 0, "another")
    assert _relations(folder.root, longer.root) == ["forked", "same"]
    _grow(longer, 0)
    assert _relations(folder.root, longer.root) == ["forked", "same"]
    assert _relations(longer.root, folder.root) == ["forked", "same"]


def test_only_the_longer_ledger_is_needed_to_tell(folder: RunFolder) -> None:
    longer = _copy(folder, "b")
    _grow(longer, 0)
    for root in (folder.root, longer.root):
        audit(root)
    first, second = folder.root / "report.json", longer.root / "report.json"
    assert _relations(first, longer.root) == ["continued", "same"]
    assert _relations(folder.root, second) == ["unknown", "same"]
    assert _relations(first, second) == ["unknown", "same"]


def test_clients_are_paired_by_ledger_even_if_they_were_numbered_anew(
    tmp_path: Path, folder: RunFolder
) -> None:
    audit(folder.root)
    content = json.loads((folder.root / "report.json").read_text("utf-8"))
    for client, number in zip(content["clients"], (1, 0), strict=True):
        client["partition_id"] = number
    content["clients"][0]["epsilon"] = 9.0
    renumbered = tmp_path / "b.json"
    renumbered.write_text(json.dumps(content), encoding="utf-8")
    comparison = _compare(folder.root, renumbered)
    assert [(change.name, change.second) for change in comparison.clients] == [("client 0", 9.0)]
    assert [(pair.first_client, pair.second_client) for pair in comparison.ledgers] == [(0, 1), (1, 0)]


def test_findings_that_came_and_went(folder: RunFolder) -> None:
    worse = _copy(folder, "b")
    worse.model.unlink()
    there, back = _compare(folder.root, worse.root), _compare(worse.root, folder.root)
    assert [finding.code for finding in there.new_findings] == ["model-missing"]
    assert [finding.code for finding in back.gone_findings] == ["model-missing"]
    assert (there.gone_findings, back.new_findings) == ((), ())


def test_classes_whose_recall_differs(folder: RunFolder) -> None:
    better = _copy(folder, "b")
    content = json.loads(better.evaluation.read_text("utf-8"))
    content["per_class"][1]["recall"] = 0.9
    better.evaluation.write_text(json.dumps(content), encoding="utf-8")
    assert _named(_compare(folder.root, better.root).classes) == {"square": (0.7, 0.9)}


def test_an_epsilon_without_limit_is_none(tmp_path: Path, folder: RunFolder) -> None:
    bare = write_run(tmp_path / "b", RunPlan(settings={"privacy.enabled": False}))
    assert _named(_compare(folder.root, bare.root).outcome)["largest epsilon"][1] is None
