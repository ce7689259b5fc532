"""Ten faults in runs of real processes, one of each kind: nothing is lost, nothing is charged twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults.campaign import Options, campaign
from benchmarks.faults.figures import NEVER, figures_of
from benchmarks.faults.links import namespaces_allowed
from benchmarks.faults.plan import KINDS, VARIANTS, cases_of

pytestmark = pytest.mark.xdist_group("deployment")

SEED, CASES = 5, 10


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[dict[str, Any]]:
    net = os.getpid() % 250 if namespaces_allowed() else None  # of its own: others may test beside it
    found: list[dict[str, Any]] = []
    options = Options(folder=tmp_path_factory.mktemp("faults"), net=net)
    campaign(cases_of(SEED, CASES), options, found.append)
    return found


def runs(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [result for result in results if result["type"] == "run"]


def test_every_kind_of_fault_was_injected_and_every_run_was_done_in_the_end(results):
    assert sorted(r["kind"] for r in results if r["type"] == "case") == sorted(KINDS)
    assert all(run["completed"] for run in runs(results)), results


def test_no_charge_is_lost_none_is_made_twice_and_the_audits_find_nothing(results):
    figures = figures_of(results)
    assert figures["flaws"] == []
    assert {name: figures["figures"][name] for name in NEVER} == dict.fromkeys(NEVER, 0)
    assert figures["figures"]["updates used"] > 2 * len(runs(results))
    assert figures["figures"]["audits"] == len(runs(results))


def test_what_ended_with_its_superlink_is_known_to_have_ended(results):
    for run in runs(results):
        said = Path(run["run"]).with_suffix(".log").read_text()
        assert "No heartbeat received" not in said


def test_cases_are_made_again_from_their_seed():
    cases = cases_of(7, 40)
    assert cases == cases_of(7, 50)[:40]
    assert cases != cases_of(8, 40)
    assert {case.kind for case in cases[10:20]} == set(KINDS)
    assert {(c.kind, c.variant) for c in cases_of(7, 300)} == {(k, v) for k in KINDS for v in VARIANTS[k]}
