"""The verdict in one sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from common.audit import AuditReport, inspect_run, verdict
from tests.run_folders import RunPlan, write_run


@pytest.fixture
def report(tmp_path: Path) -> AuditReport:
    return inspect_run(write_run(tmp_path, RunPlan()).root)


def test_one_budget(report: AuditReport) -> None:
    spent = dataclasses.replace(report, epsilon=7.9801)
    assert verdict(spent) == "Verified: no client spent more than epsilon 7.99 of its 8.00 budget"


def test_several_budgets(report: AuditReport) -> None:
    first, second = report.clients
    mixed = dataclasses.replace(report, epsilon=3.0, clients=(first, dataclasses.replace(second, budget=3.0)))
    assert mixed.budgets == (3.0, 8.0)
    assert (
        verdict(mixed)
        == "Verified: every client kept to its own budget, and none spent more than epsilon 3.00"
    )


def test_no_budget(report: AuditReport) -> None:
    clients = tuple(dataclasses.replace(client, budget=None) for client in report.clients)
    assert (
        verdict(dataclasses.replace(report, epsilon=1.0, clients=clients))
        == "Verified: no client spent more than epsilon 1.00"
    )


def test_the_stamp_comes_before_everything(report: AuditReport) -> None:
    stamped = dataclasses.replace(report, private=False, stamp="NOT PRIVATE")
    assert verdict(stamped).startswith("NOT PRIVATE. The records")
    refuted = dataclasses.replace(stamped, verified=False)
    assert verdict(refuted) == "NOT PRIVATE. NOT verified: 0 errors in the records of this run"
