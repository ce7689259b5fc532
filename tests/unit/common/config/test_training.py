from __future__ import annotations

import pytest

from common.config import resolve
from common.errors import ConfigError


def rates(decay: str, rounds: int, rate: float | str = 2.0, *, auto: float = 1.2) -> list[float]:
    training = resolve({"training.learning-rate": rate, "training.learning-rate-decay": decay}).training
    numbers = range(1, rounds + 1)
    return [training.in_round(number, rounds, auto=auto).rate(auto=auto) for number in numbers]


def test_rates_by_hand():
    assert rates("off", 3) == [2.0, 2.0, 2.0]
    assert rates("linear", 4) == [2.0, 1.5, 1.0, 0.5]
    assert rates("cosine", 3) == pytest.approx([2.0, 1.5, 0.5])


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_rate_is_whole_at_first_falls_and_is_never_zero(decay):
    many = rates(decay, 1000)
    assert many[0] == 2.0
    assert many == sorted(many, reverse=True)
    assert 0 < many[-1] < 0.01


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_a_pull_that_overshoots_is_refused_where_the_step_follows_it(rule):
    settings = {"training.optimizer": rule, "training.proximal-mu": 4.0, "training.learning-rate": 0.5}
    if rule == "sgd":
        with pytest.raises(ConfigError, match="0.5 times training.proximal-mu = 4.0 is not below 2"):
            resolve(settings)
    else:
        assert resolve(settings).training.proximal_mu == 4.0
    assert resolve(settings | {"training.learning-rate": 0.49}).training.proximal_mu == 4.0


def test_auto_falls_from_the_models_own_rate():
    assert rates("linear", 2, "auto", auto=0.5) == [0.5, 0.25]


def test_without_decay_auto_is_left_to_the_client():
    assert resolve({}).training.in_round(7, 9, auto=1.0).learning_rate == "auto"


def test_what_is_proposed_for_a_round_does_not_fall_again():
    training = resolve({"training.learning-rate-decay": "linear"}).training
    assert training.in_round(2, 4, auto=1.0).learning_rate_decay == "off"
