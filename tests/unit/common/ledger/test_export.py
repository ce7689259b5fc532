"""Charges for other programs: nothing is left out, and nothing is said that the ledger does not say."""

from __future__ import annotations

import csv
import io
import json
import math

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from common.ledger import read_ledger
from common.ledger.export import as_csv, as_events, as_json, charges
from common.privacy.accounting import epsilon_pld
from tests.vectors import make

EVERY_KIND = read_ledger(make.HERE / "every-kind.jsonl")


def test_the_table_has_a_row_for_each_mechanism():
    rows = list(csv.DictReader(io.StringIO(as_csv(EVERY_KIND))))
    assert [row["mechanism"] for row in rows] == [
        "poisson-gaussian",
        "gaussian",
        "discrete-laplace",
        "laplace",
        "poisson-gaussian",
    ]
    assert rows[0] == {
        "entry": "1",
        "run": "20260101-120000-folder",
        "round": "1",
        "purpose": "train",
        "mechanism": "poisson-gaussian",
        "noise_multiplier": "1.25",
        "sample_rate": "1/5",
        "steps": "3",
        "max_grad_norm": "1",
        "normaliser": "20",
        "sampler": "poisson",
        "noise_source": "chacha20",
        "outcome": "released",
        "update": make.digest("update 1"),
        "receipt": "1",
    }
    assert [(row["entry"], row["outcome"], row["receipt"]) for row in rows[1:]] == [
        ("4", "aborted", ""),
        ("4", "aborted", ""),
        ("7", "released", "3"),
        ("11", "open", ""),
    ]
    assert (rows[3]["noise_multiplier"], rows[3]["normaliser"], rows[3]["sample_rate"]) == (
        "0.000001",
        "7/3",
        "",
    )


def test_json_holds_the_same_with_the_terms():
    record = json.loads(as_json(EVERY_KIND))
    assert (record["delta"], record["budget"], record["num_examples"]) == (1e-5, 8.0, 90)
    assert record["head"] == EVERY_KIND.head
    first = record["charges"][0]
    assert (first["noise_multiplier"], first["sample_rate"], first["normaliser"]) == (1.25, [1, 5], [20, 1])
    assert (first["receipt"], first["outcome"]) == (1, "released")
    assert [charge["entry"] for charge in record["charges"]] == [
        charge.entry for charge in charges(EVERY_KIND)
    ]


def test_training_without_noise_has_no_noise_to_show():
    view = read_ledger(make.HERE / "without-privacy.jsonl")
    (row,) = csv.DictReader(io.StringIO(as_csv(view)))
    assert (row["mechanism"], row["noise_multiplier"], row["sample_rate"], row["max_grad_norm"]) == (
        "unprotected",
        "",
        "",
        "",
    )
    assert math.isinf(epsilon_of(as_events(view), 1e-5))


def epsilon_of(expression: str, delta: float) -> float:
    """Compute epsilon as a stranger does, who has dp-accounting and the expression."""
    event = eval(expression, {"dp_accounting": dp_accounting})
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.REPLACE_SPECIAL, 1e-4)
    return float(accountant.compose(event).get_epsilon(delta))


def test_a_stranger_computes_the_same_epsilon_from_the_events(filled):
    expected = epsilon_pld(filled.view.mechanisms(), 1e-5)
    assert epsilon_of(as_events(filled.view), 1e-5) == pytest.approx(expected, rel=1e-9)
    assert "SelfComposedDpEvent" in as_events(filled.view)


def test_the_events_hold_every_kind_of_noise():
    text = as_events(EVERY_KIND)
    event = eval(text, {"dp_accounting": dp_accounting})
    assert event == dp_accounting.ComposedDpEvent(
        [
            dp_accounting.SelfComposedDpEvent(one, count)
            for one, count in (
                (dp_accounting.PoissonSampledDpEvent(0.2, dp_accounting.GaussianDpEvent(1.25)), 6),
                (dp_accounting.GaussianDpEvent(40.0), 2),
                (dp_accounting.LaplaceDpEvent(1e-6), 1),
                (dp_accounting.dp_event.DiscreteLaplaceDpEvent(0.02, 1), 10),
            )
        ]
    )
    assert f"ledger {EVERY_KIND.genesis.ledger_id}" in text
    assert "delta 0.00001" in text
    assert "filter" not in text


def test_the_events_of_an_adaptive_ledger_say_that_the_budget_is_what_holds():
    assert "what holds is the budget" in as_events(read_ledger(make.HERE / "adaptive.jsonl"))


def test_a_ledger_without_charges_is_exported_as_nothing(ledger):
    assert as_csv(ledger.view).count("\n") == 1
    assert epsilon_of(as_events(ledger.view), 1e-5) == 0.0
