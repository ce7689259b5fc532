"""What a question permits, and who is asked how often."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest

from common.config import resolve
from common.errors import ConfigError
from common.planning.question import Holding, Question, holdings_of
from server.strategy import FedAvg

BASE = Question(holdings=holdings_of([6000] * 10, None), epsilon=8.0, rounds=200, sample_rate=Fraction(1, 10))


def change(**values) -> Question:
    return dataclasses.replace(BASE, **values)


def test_equal_clients_are_grouped_smallest_first():
    assert [(h.num_examples, h.count) for h in holdings_of([300, 20, 300], None)] == [(20, 1), (300, 2)]


def test_a_default_delta_follows_the_size():
    assert [holding.delta for holding in holdings_of([100, 20_000], None)] == [1e-5, 5e-6]
    assert [holding.delta for holding in holdings_of([100, 200], 1e-4)] == [1e-4, 1e-4]


@pytest.mark.parametrize(("delta", "large"), [(1e-5, False), (1.01e-5, True)])
def test_a_delta_above_a_tenth_of_one_over_n_is_large(delta, large):
    assert Holding(num_examples=10_000, delta=delta).delta_is_large is large


@pytest.mark.parametrize(
    ("known", "unknown"),
    [
        ({"epsilon": 8.0, "rounds": 9}, "noise"),
        ({"epsilon": 8.0, "noise_multiplier": 1.0}, "rounds"),
        ({"rounds": 9, "noise_multiplier": 1.0}, "epsilon"),
        ({"epsilon": 8.0, "rounds": 9, "noise_multiplier": 1.0}, "nothing"),
    ],
)
def test_what_is_missing_is_asked_for(known, unknown):
    given = {"epsilon": None, "rounds": None, "noise_multiplier": None} | known
    assert change(**given).unknown == unknown


@pytest.mark.parametrize("clients", [1, 2, 3, 5, 7, 10])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9, 1.0])
def test_a_round_asks_as_many_clients_as_the_server_does(clients, share):
    config = resolve({"federation.fraction-train": share, "federation.num-server-rounds": 12})
    strategy = FedAvg(config, tuple(range(clients)))
    question = change(holdings=holdings_of([6000] * clients, None), participation=Fraction(str(share)))
    assert question.asked == len(strategy.cohort(1))
    planned = sum(strategy.proposal(client).planned_rounds for client in range(clients))
    assert planned == clients * 12 * question.share


def test_own_rounds_are_the_average_rounded_up_and_can_be_undone():
    question = change(holdings=holdings_of([6000] * 3, None), participation=Fraction(2, 3))
    assert [question.own_rounds(rounds) for rounds in (1, 2, 3, 4, 200)] == [1, 2, 2, 3, 134]
    for own_rounds in range(1, 30):
        rounds = question.rounds_for(own_rounds)
        assert question.own_rounds(rounds) <= own_rounds < question.own_rounds(rounds + 1)


def test_of_an_unknown_federation_the_share_is_taken_as_it_is():
    alone = change(holdings=holdings_of([6000], None), participation=Fraction(1, 3))
    assert alone.share == 1
    assert dataclasses.replace(alone, whole_federation=False).share == Fraction(1, 3)


def test_dropping_out_leaves_at_least_one_client():
    assert change(dropout=0.25).answering == 7.5
    assert change(dropout=0.99).answering == 1.0


@pytest.mark.parametrize(("size", "rate"), [(6000, Fraction(1, 24)), (250, Fraction(1)), (100, Fraction(1))])
def test_a_batch_size_gives_an_exact_rate_of_at_most_one(size, rate):
    assert change(sample_rate=None, batch_size=250).sample_rate_at(size) == rate


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"epsilon": 1e300}, "at most 1,000,000,000"),
        ({"rounds": 0}, "rounds is 0"),
        ({"rounds": True}, "rounds is True"),
        ({"rounds": 10**7}, "to 1,000,000"),
        ({"epsilon": None}, "two of epsilon, rounds and noise-multiplier"),
        ({"noise_multiplier": 0.0}, "noise-multiplier is 0.0"),
        ({"noise_multiplier": float("inf")}, "noise-multiplier is inf"),
        ({"sample_rate": None}, "exactly one of --sample-rate and --batch-size"),
        ({"batch_size": 5}, "exactly one of --sample-rate and --batch-size"),
        ({"sample_rate": Fraction(3, 2)}, "sample-rate is 1.5"),
        ({"sample_rate": Fraction(0)}, "sample-rate is 0.0"),
        ({"steps": 0}, "steps is 0"),
        ({"participation": Fraction(0)}, "participation is 0.0"),
        ({"participation": Fraction(2)}, "participation is 2.0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"num_parameters": 0}, "parameters is 0"),
        ({"holdings": ()}, "no client is given"),
    ],
)
def test_a_value_out_of_range_is_named(values, said):
    with pytest.raises(ConfigError, match=said):
        change(**values)


@pytest.mark.parametrize(("size", "delta"), [(0, 1e-5), (100, 0.02), (100, 0.0)])
def test_a_holding_needs_examples_and_a_delta_of_at_most_one_over_n(size, delta):
    with pytest.raises(ConfigError):
        Holding(num_examples=size, delta=delta)
