"""What each chart shows, and how it says so in words."""

from __future__ import annotations

import dataclasses
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from common.audit import AuditReport, inspect_run
from common.audit.breakdown import MechanismSpending, RunSpending
from common.audit.figures import (
    accuracy_chart,
    curve_chart,
    epsilon_chart,
    mechanism_name,
    mechanisms_chart,
    run_name,
    runs_chart,
    tradeoff_chart,
)
from common.audit.wording import epsilon_text
from tests.run_folders import RunPlan, write_run


@pytest.fixture
def report(tmp_path: Path) -> AuditReport:
    return inspect_run(write_run(tmp_path, RunPlan(logged=False)).root)


def _names(chart: str | None) -> list[str]:
    assert chart is not None
    return [group.get("aria-label", "") for group in ET.fromstring(chart).iter("g") if group.get("tabindex")]


def _with_runs(report: AuditReport, epsilons: list[float]) -> AuditReport:
    runs = tuple(
        RunSpending(run=f"run-{index}", charges=1, rounds=1, steps=1, epsilon=epsilon)
        for index, epsilon in enumerate(epsilons)
    )
    breakdown = dataclasses.replace(report.breakdown, runs=runs, epsilon=7.0)
    return dataclasses.replace(report, breakdown=breakdown)


def test_accuracy_is_drawn_against_the_epsilon_that_it_took(report: AuditReport) -> None:
    expected = [
        f"Epsilon {epsilon_text(entry.epsilon)}: accuracy {50 + 10 * index}.0 %, round {index + 1}"
        for index, entry in enumerate(report.rounds)
    ]
    assert _names(tradeoff_chart(report)) == expected


def test_the_curve_marks_the_claimed_delta(report: AuditReport) -> None:
    chart = curve_chart(report)
    assert len(_names(chart)) == len(report.meaning.curve)
    assert chart is not None
    notes = [text.text for text in ET.fromstring(chart).iter("text") if text.get("class") == "value"]
    assert notes == [f"{epsilon_text(report.epsilon)} at 1e-5"]


def test_a_single_pair_is_no_curve(report: AuditReport) -> None:
    meaning = dataclasses.replace(report.meaning, curve=report.meaning.curve[:1])
    assert curve_chart(dataclasses.replace(report, meaning=meaning)) is None


def test_without_a_limit_nothing_is_drawn_but_accuracy(tmp_path: Path) -> None:
    bare = inspect_run(write_run(tmp_path, RunPlan(settings={"privacy.enabled": False})).root)
    assert (epsilon_chart(bare), tradeoff_chart(bare), curve_chart(bare)) == (None, None, None)
    assert len(_names(accuracy_chart(bare))) == 3


def test_parts_are_drawn_only_where_there_are_several(report: AuditReport) -> None:
    assert (runs_chart(report), mechanisms_chart(report)) == (None, None)
    two = _with_runs(report, [4.0, 5.0])
    assert _names(runs_chart(two)) == [
        "run-0: epsilon 4.00",
        "run-1 (this report's): epsilon 5.00",
        "All together: epsilon 7.00",
    ]
    assert "do not add up" in str(runs_chart(two))


def test_of_many_parts_the_costliest_are_drawn_in_their_order(report: AuditReport) -> None:
    chart = runs_chart(_with_runs(report, [0.5, *[1.0 + index / 100 for index in range(14)]]))
    names = _names(chart)
    assert len(names) == 12 + 1
    assert names[0] == "run-3: epsilon 1.02"
    assert "3 smaller parts not drawn" in str(chart)


def test_many_equal_parts_are_drawn_only_as_often_as_there_is_room(report: AuditReport) -> None:
    assert len(_names(runs_chart(_with_runs(report, [1.0] * 20)))) == 12 + 1


def test_a_part_without_limit_is_drawn(report: AuditReport) -> None:
    assert _names(runs_chart(_with_runs(report, [1.0, math.inf])))[1].endswith(": epsilon no limit")


def test_names_of_runs_and_mechanisms(report: AuditReport) -> None:
    spent = MechanismSpending(
        purpose="train",
        mechanism="poisson-gaussian",
        noise_multiplier="1.4",
        sample_rate="1/5",
        charges=1,
        steps=1,
        epsilon=1.0,
    )
    assert mechanism_name(spent) == "train: Gaussian noise, random batches, noise 1.4, chance 1/5"
    future = dataclasses.replace(spent, mechanism="later", noise_multiplier=None, sample_rate=None)
    assert mechanism_name(future) == "train: later"
    assert (run_name("run-1", report), run_name("x", report)) == ("run-1 (this report's)", "x")
