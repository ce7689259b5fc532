"""The guarantee of one ledger."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from common.audit.history import ClientLedger, client_ledgers
from common.audit.records import read_run
from common.audit.standing import accounting_of, count_entries, guarantee_of
from common.ledger.entries import Acknowledged, Amend, Reserve
from tests.run_folders import RunPlan, charge, write_run


def _ledger(root: Path, **plan: object) -> ClientLedger:
    return client_ledgers(read_run(write_run(root, RunPlan(clients=1, **plan)).root))[0]  # type: ignore[arg-type]


def test_settings_fixed_in_advance_guarantee_what_was_spent(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path)
    assert (accounting_of(ledger), guarantee_of(ledger, 1.3)) == ("fixed", 1.3)


def test_settings_that_changed_although_they_were_fixed_guarantee_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    charge(folder, 0, 4, RunPlan(noise_multiplier=3.0))
    assert guarantee_of(client_ledgers(read_run(folder.root))[0], 1.3) == math.inf


@pytest.mark.parametrize(("spent", "guarantee"), [(1.3, 8.0), (8.0, 8.0), (8.1, math.inf)])
def test_a_filter_guarantees_its_budget_unless_it_failed(
    tmp_path: Path, spent: float, guarantee: float
) -> None:
    ledger = _ledger(tmp_path, genesis={"filter_order": 8.0})
    assert (accounting_of(ledger), guarantee_of(ledger, spent)) == ("filter", guarantee)


def test_a_filter_that_charged_nothing_guarantees_everything(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path, rounds=0, genesis={"filter_order": 8.0})
    assert guarantee_of(ledger, 0.0) == 0.0


def test_training_without_noise_has_no_guarantee(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path, settings={"privacy.enabled": False})
    assert (accounting_of(ledger), guarantee_of(ledger, math.inf)) == ("none", math.inf)


def test_entries_are_counted_by_kind(tmp_path: Path) -> None:
    view = _ledger(tmp_path).view
    assert (count_entries(view, Reserve), count_entries(view, Acknowledged), count_entries(view, Amend)) == (
        3,
        3,
        0,
    )
