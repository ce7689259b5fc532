"""Epsilons of many histories."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from common.audit import spending
from common.audit.spending import History, largest_by_round, spend
from common.privacy.accounting import epsilon_pld, epsilon_rdp, epsilon_unamplified
from common.privacy.mechanisms import Mechanism, PoissonGaussian, Unprotected


def _history(steps: int, budget: float | None = 8.0) -> History:
    mechanism = PoissonGaussian(noise_multiplier=4.0, sample_rate=Fraction(1, 10), num_steps=steps)
    return History(mechanisms=(mechanism,), delta=1e-5, budget=budget)


def test_a_few_histories_are_computed_exactly() -> None:
    history = _history(10)
    spent = spend([history, history])[history]
    assert spent.exact
    assert spent.epsilon == epsilon_pld(history.mechanisms, 1e-5)
    assert spent.epsilon_rdp == epsilon_rdp(history.mechanisms, 1e-5)
    assert spent.epsilon_unamplified == epsilon_unamplified(history.mechanisms, 1e-5)


def test_of_many_histories_the_largest_are_exact_and_the_others_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spending, "MOST_EXACT_HISTORIES", 1)
    small, large = _history(10), _history(40)
    costs = spend([small, large])
    assert (costs[large].exact, costs[small].exact) == (True, False)
    exact = epsilon_pld(small.mechanisms, 1e-5)
    assert exact <= costs[small].epsilon <= exact * 1.001
    assert costs[small].epsilon_rdp is None


def test_a_history_that_a_bound_cannot_judge_is_computed_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "MOST_EXACT_HISTORIES", 0)
    exact = epsilon_pld(_history(10).mechanisms, 1e-5)
    at_budget, far_above = _history(10, budget=exact), _history(10, budget=exact / 2)
    costs = spend([at_budget, far_above])
    assert costs[at_budget].exact
    assert costs[at_budget].epsilon == exact
    assert not costs[far_above].exact


def test_no_charge_costs_nothing_and_no_protection_costs_everything() -> None:
    empty = History(mechanisms=(), delta=1e-5, budget=8.0)
    unprotected: tuple[Mechanism, ...] = (Unprotected(num_steps=3),)
    open_history = History(mechanisms=unprotected, delta=1e-5, budget=None)
    costs = spend([empty, open_history])
    assert (costs[empty].epsilon, costs[empty].epsilon_rdp) == (0.0, 0.0)
    assert (costs[open_history].epsilon, costs[open_history].epsilon_rdp) == (math.inf, math.inf)


def test_the_largest_of_each_round_is_exact_in_a_short_run() -> None:
    rounds = [[_history(2), _history(1)], [_history(2), _history(4)]]
    final = epsilon_pld(_history(4).mechanisms, 1e-5)
    assert largest_by_round(rounds, final) == [epsilon_pld(_history(2).mechanisms, 1e-5), final]


def test_a_long_run_is_bounded_and_never_above_the_final_epsilon() -> None:
    rounds = [[_history(steps)] for steps in range(1, 12)]
    final = epsilon_pld(_history(11).mechanisms, 1e-5)
    values = largest_by_round(rounds, final)
    assert values == sorted(values)
    assert values[-1] == final
    first = epsilon_pld(_history(1).mechanisms, 1e-5)
    assert first <= values[0] <= first * 1.002


def test_of_many_histories_of_a_round_only_the_leading_ones_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: set[History] = set()
    bound = History.bound.fget
    assert bound is not None
    monkeypatch.setattr(History, "bound", property(lambda history: asked.add(history) or bound(history)))
    histories = [_history(steps) for steps in range(1, 101)]
    final = epsilon_pld(histories[-1].mechanisms, 1e-5)
    assert largest_by_round([histories], final, leading=2) == [final]
    assert asked == {*histories[-spending.MOST_BOUNDED :], histories[2]}


def test_the_estimate_of_a_history_without_protection_comes_first() -> None:
    unprotected: tuple[Mechanism, ...] = (Unprotected(num_steps=1),)
    history = History(mechanisms=unprotected, delta=1e-5, budget=None)
    assert history.estimate == math.inf
    assert History(mechanisms=(), delta=1e-5, budget=None).estimate == 0.0
    assert largest_by_round([[_history(steps) for steps in range(1, 9)] + [history]], math.inf) == [math.inf]
