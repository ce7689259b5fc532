"""What was typed becomes a question, with the settings' defaults and a ledger's terms."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from common.config import RunConfig
from common.errors import ConfigError, LedgerError
from common.planning.question import Filter, Question
from common.planning.request import Request, question_of
from common.privacy.budget import PrivacyBudget
from common.privacy.mechanisms import PoissonGaussian
from tests.run_folders import RunPlan, write_run


def ask(**values: Any) -> Question:
    return question_of(Request(**({"examples": "6000"} | values)))


def ledger(root: Path, **plan: Any) -> Path:
    return write_run(root / "run", RunPlan(clients=1, **plan)).ledger(0)


def test_what_is_left_out_is_as_in_the_settings():
    question, defaults = ask(), RunConfig()
    assert question.num_clients == defaults.federation.num_clients
    assert question.epsilon == defaults.privacy.epsilon
    assert question.rounds == defaults.federation.num_server_rounds
    assert question.sample_rate == Fraction(str(defaults.training.sample_rate))
    assert question.steps == defaults.training.local_steps
    assert question.participation == 1
    assert [holding.delta for holding in question.holdings] == [1e-5]


def test_noise_that_is_given_leaves_the_other_two_to_the_user():
    assert ask(noise_multiplier=1.0, epsilon=2.0).rounds is None
    assert ask(noise_multiplier=1.0, rounds=9).epsilon is None


def test_a_rate_is_the_decimal_as_written():
    assert ask(sample_rate=0.07).sample_rate == Fraction(7, 100)
    assert ask(batch_size=64).sample_rate is None


def test_examples_are_one_number_for_all_or_one_for_each():
    assert [h.count for h in ask(clients=3).holdings] == [3]
    assert [(h.num_examples, h.count) for h in ask(examples="500, 6000,500").holdings] == [
        (500, 2),
        (6000, 1),
    ]


def test_partitions_are_read_from_a_run_or_its_file(tmp_path):
    folder = write_run(tmp_path / "run", RunPlan(clients=2, num_examples=50))
    for path in (folder.root, folder.partitions):
        (holding,) = ask(examples=None, partitions=path).holdings
        assert (holding.num_examples, holding.count) == (50, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hello", "is not JSON"),
        ("[1, 2]", "does not hold partitions"),
        (json.dumps({"dataset": "x", "classes": ["a"], "counts": [[0], [5]]}), "without examples"),
        (json.dumps({"dataset": "x", "classes": ["a"], "counts": []}), "holds no client"),
        (json.dumps({"dataset": "x", "classes": ["a", "b"], "counts": [[-5, 9]]}), "without examples"),
    ],
)
def test_other_files_are_not_partitions(tmp_path, content, said):
    file = tmp_path / "partitions.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=said):
        ask(examples=None, partitions=file)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"examples": None}, "number of examples is missing"),
        ({"partitions": Path("x")}, "--examples and --partitions both say"),
        ({"examples": None, "partitions": Path("x"), "clients": 3}, "leave out --clients"),
        ({"examples": None, "partitions": Path("/nowhere/x")}, "cannot be read"),
        ({"examples": "6,000"}, "without thousands separators"),
        ({"examples": ""}, "permitted are whole numbers"),
        ({"examples": "-5"}, "permitted are whole numbers"),
        ({"examples": "12.5"}, "permitted are whole numbers"),
        ({"examples": "500,600", "clients": 3}, "names 2 clients"),
        ({"clients": 0}, "--clients is 0"),
        ({"sample_rate": 0.1, "batch_size": 5}, "both given"),
        ({"sample_rate": float("nan")}, "sample-rate is nan"),
        ({"participation": float("inf")}, "participation is inf"),
        ({"delta": "small"}, "--delta is 'small'"),
        ({"delta": "0.1"}, "at most 1/6000"),
        ({"budget": 4.0}, "--budget lowers that of a --ledger"),
        ({"noise_multiplier": 1.0}, "two of epsilon, rounds and noise-multiplier"),
    ],
)
def test_what_contradicts_or_is_missing_is_named(values, said):
    with pytest.raises(ConfigError, match=said):
        ask(**values)


def test_a_ledger_goes_on_as_in_its_last_charge(tmp_path):
    question = ask(examples=None, ledger=ledger(tmp_path))
    (holding,) = question.holdings
    assert (question.epsilon, question.noise_multiplier, question.rounds) == (8.0, 2.0, None)
    assert (question.sample_rate, question.steps) == (Fraction(1, 5), 2)
    assert (holding.num_examples, holding.delta) == (50, 1e-5)
    assert holding.prior == (PoissonGaussian(noise_multiplier=2.0, sample_rate=Fraction(1, 5), num_steps=6),)
    assert not question.whole_federation


def test_rounds_after_a_ledger_of_one_setting_are_asked_whether_they_fit(tmp_path):
    assert ask(examples=None, ledger=ledger(tmp_path), rounds=9).unknown == "nothing"


def test_an_empty_ledger_only_fixes_size_delta_and_budget(tmp_path):
    question = ask(examples=None, ledger=ledger(tmp_path, rounds=0), sample_rate=0.3)
    assert (question.unknown, question.rounds, question.sample_rate) == ("noise", 200, Fraction(3, 10))


def test_a_ledger_with_a_filter_leaves_every_setting_free(tmp_path):
    path = ledger(tmp_path, genesis={"filter_order": 4.0})
    question = ask(examples=None, ledger=path, noise_multiplier=1.0, sample_rate=0.1)
    (holding,) = question.holdings
    assert (question.noise_multiplier, question.sample_rate) == (1.0, Fraction(1, 10))
    assert holding.filter == Filter(budget=PrivacyBudget(epsilon=8.0, delta=1e-5), order=4.0)
    assert ask(examples=None, ledger=path, rounds=9).unknown == "noise"
    assert ask(examples=None, ledger=path).noise_multiplier == 2.0


def test_less_than_a_ledgers_budget_may_be_planned_with(tmp_path):
    assert ask(examples=None, ledger=ledger(tmp_path), epsilon=3.0, delta="1e-5").epsilon == 3.0


@pytest.mark.parametrize("filter_order", [None, 4.0])
def test_a_budget_that_a_policy_lowered_holds_for_the_filter_as_well(tmp_path, filter_order):
    path = ledger(tmp_path, genesis={"filter_order": filter_order})
    question = ask(examples=None, ledger=path, budget=3.0)
    (holding,) = question.holdings
    assert question.epsilon == 3.0
    lowered = Filter(budget=PrivacyBudget(epsilon=3.0, delta=1e-5), order=4.0)
    assert holding.filter == (lowered if filter_order else None)
    assert ask(examples=None, ledger=path, budget=3.0, epsilon=2.0).epsilon == 2.0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"budget": 8.5}, "permitted is above 0 and at most the ledger's 8"),
        ({"budget": 0.0}, "permitted is above 0"),
        ({"budget": float("nan")}, "permitted is above 0"),
        ({"budget": 3.0, "epsilon": 4.0}, "above the ledger's lifetime budget 3"),
        ({"epsilon": 9.0}, "above the ledger's lifetime budget 8"),
        ({"delta": "1e-6"}, "the ledger fixes it to 1e-05"),
        ({"noise_multiplier": 1.0}, "must use 2, so leave it out"),
        ({"sample_rate": 0.1}, "must use the sample rate 1/5"),
        ({"batch_size": 5}, "must use the sample rate 1/5"),
        ({"clients": 3}, "leave out --clients"),
    ],
)
def test_a_ledgers_terms_cannot_be_planned_away(tmp_path, values, said):
    with pytest.raises(ConfigError, match=said):
        ask(examples=None, ledger=ledger(tmp_path), **values)


@pytest.mark.parametrize("values", [{"noise_multiplier": 2.0}, {"sample_rate": 0.2}, {"batch_size": 10}])
def test_a_ledgers_terms_may_be_repeated(tmp_path, values):
    assert ask(examples=None, ledger=ledger(tmp_path), **values).noise_multiplier == 2.0


def test_nothing_can_be_planned_after_training_without_noise(tmp_path):
    unprotected = ledger(tmp_path, settings={"privacy.enabled": False})
    with pytest.raises(ConfigError, match="holds training without noise"):
        ask(examples=None, ledger=unprotected, rounds=3, noise_multiplier=1.0)


def test_a_ledger_that_does_not_verify_is_refused(tmp_path):
    path = ledger(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"steps":2', b'"steps":1', 1))
    with pytest.raises(LedgerError):
        ask(examples=None, ledger=path)
