"""A sweep's folder: begun once, read back, and never mistaken for another's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from common.errors import CheckpointError, ConfigError
from simulations.sweep.folder import Result, SweepFolder, begin, read_plan
from simulations.sweep.workers import Job
from tests.unit.simulations.sweep.made_up import made_up_plan, made_up_run

RATES = "training.learning-rate=1,2"


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return begin(tmp_path / "sweep", made_up_plan(RATES))


def test_a_sweep_is_read_back(folder: SweepFolder) -> None:
    assert read_plan(folder.root) == made_up_plan(RATES)


@pytest.mark.parametrize(("over", "whose"), [(RATES, "these"), ("training.momentum=0,0.5", "other")])
def test_a_folder_is_begun_once(folder: SweepFolder, over: str, whose: str) -> None:
    with pytest.raises(ConfigError, match=f"holds a sweep of {whose} settings: go on with it with --resume"):
        begin(folder.root, made_up_plan(over))


def test_a_folder_with_anything_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").touch()
    for name, line in (("file", "is a file"), ("full", "is not empty")):
        with pytest.raises(ConfigError, match=line):
            begin(tmp_path / name, made_up_plan(RATES))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "fedledger-sweep-plan/1"}', '"plan"', "\xff"])
def test_a_damaged_plan_is_named(folder: SweepFolder, text: str) -> None:
    folder.plan.write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"plan\.json is damaged"):
        read_plan(folder.root)


def test_a_plan_of_another_form_is_named(folder: SweepFolder) -> None:
    folder.plan.write_text(folder.plan.read_text().replace("plan/1", "plan/9"))
    with pytest.raises(CheckpointError, match="has the form 'fedledger-sweep-plan/9'"):
        read_plan(folder.root)


def test_no_sweep_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a sweep's folder"):
        read_plan(tmp_path)


def done(folder: SweepFolder, rounds: int = 3) -> bool:
    plan = made_up_plan(RATES)
    return Job(name="001", label="", config=plan.config(plan.runs[0].settings), rounds=rounds).done(folder)


def test_a_run_is_done_when_it_has_come_so_far_or_ended_by_itself(folder: SweepFolder) -> None:
    assert not done(folder)
    made_up_run(folder, "001", over=False)
    assert done(folder)
    assert not done(folder, rounds=4)
    made_up_run(SweepFolder(folder.root / "other"), "001")
    assert done(SweepFolder(folder.root / "other"), rounds=4)


def test_a_run_without_its_folder_is_run_again(folder: SweepFolder) -> None:
    made_up_run(folder, "001")
    shutil.rmtree(folder.run("001").root)
    assert not done(folder)


def test_a_run_that_failed_is_tried_again(folder: SweepFolder) -> None:
    folder.keep_result("001", Result(failed="no memory"))
    assert folder.result("001") == Result(failed="no memory")
    assert not done(folder)
    folder.forget_failure("001")
    assert folder.result("001") is None


def test_a_torn_result_counts_as_none(folder: SweepFolder) -> None:
    made_up_run(folder, "001")
    folder.result_file("001").write_text('{"rounds": 3')
    assert folder.result("001") is None


def test_accuracies_are_those_of_whole_lines(folder: SweepFolder) -> None:
    assert folder.accuracies("001") == []
    made_up_run(folder, "001")
    with folder.run("001").rounds.open("a") as file:
        file.write('{"round": 4, "accur')
    assert folder.accuracies("001") == pytest.approx([0.5, 0.6, 0.7])
