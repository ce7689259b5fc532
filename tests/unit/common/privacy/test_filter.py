from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, LaplaceDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

from common.errors import ConfigError
from common.privacy.accounting import epsilon_pld
from common.privacy.budget import PrivacyBudget
from common.privacy.filter import filter_capacity, filter_order, filter_spent, within_filter
from common.privacy.mechanisms import DiscreteLaplace, Gaussian, Laplace, PoissonGaussian, Unprotected
from common.privacy.noise import LEAST_NOISE
from common.privacy.renyi import FRACTIONAL_ORDERS, ORDERS

BUDGET = PrivacyBudget(epsilon=8.0, delta=1e-5)
KINDS = (Gaussian, Laplace, DiscreteLaplace)


def sampled(sigma: float, rate: str = "0.1", steps: int = 1) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=Fraction(rate), num_steps=steps)


@pytest.mark.parametrize("epsilon", [0.02, 0.3, 1.0, 8.0, 50.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9])
def test_the_order_lets_gaussian_noise_run_longest(epsilon, delta):
    budget = PrivacyBudget(epsilon=epsilon, delta=delta)
    gaussian = Gaussian(noise_multiplier=100.0, num_steps=1)
    runs = [filter_capacity(budget, order) / filter_spent([gaussian], order) for order in ORDERS]
    assert ORDERS[int(np.argmax(runs))] == filter_order(budget) == filter_order(budget)


def test_the_order_of_a_common_budget_is_known():
    # (8 - log(1 - 1/3.9) + log(3.9e-5) / 2.9) / 3.9 = 1.2296, and less at 3.8 and 4.
    assert filter_order(BUDGET) == 3.9
    assert filter_capacity(BUDGET, 3.9) == pytest.approx(3.9 * 1.22964, abs=1e-4)


def test_an_epsilon_too_small_for_every_order_is_refused_with_a_way_out():
    with pytest.raises(
        ConfigError, match=r"epsilon is 0\.003, permitted .* more than 0\.0035: raise"
    ) as caught:
        filter_order(PrivacyBudget(epsilon=0.003, delta=1e-5))
    assert "\n" not in str(caught.value)
    assert filter_order(PrivacyBudget(epsilon=0.0036, delta=1e-5)) == 1024


@pytest.mark.parametrize("order", [1.1, 3.9, 18, 1024])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9])
def test_a_spent_capacity_converts_to_the_budget_and_not_more(order, delta):
    budget = PrivacyBudget(epsilon=300.0, delta=delta)
    epsilon, _ = compute_epsilon([order], [filter_capacity(budget, order)], delta)
    assert epsilon == pytest.approx(300, rel=1e-12)


def test_an_order_without_room_has_no_capacity():
    assert filter_capacity(PrivacyBudget(epsilon=1.0, delta=1e-5), 2) == 0
    assert within_filter((), PrivacyBudget(epsilon=1.0, delta=1e-5), 2)
    assert not within_filter([sampled(900.0)], PrivacyBudget(epsilon=1.0, delta=1e-5), 2)


@pytest.mark.parametrize("order", [1.0, 0.0, -2.0, 1.05, 3.95, 65, math.inf, math.nan])
def test_an_order_that_is_not_on_the_list_is_refused(order):
    for ask in (filter_capacity, functools.partial(within_filter, ())):
        with pytest.raises(ConfigError, match="filter order is"):
            ask(BUDGET, order)
    with pytest.raises(ConfigError, match="filter order is"):
        filter_spent((), order)


def test_nothing_costs_nothing_and_no_noise_costs_everything():
    assert filter_spent((), 3.9) == 0
    for mechanism in (Unprotected(num_steps=1), sampled(LEAST_NOISE / 2)):
        assert filter_spent([sampled(2.0), mechanism], 3.9) == math.inf
        assert not within_filter([mechanism], PrivacyBudget(epsilon=1e9, delta=0.1), 3.9)


@pytest.mark.parametrize("order", [2, 7, 64])
def test_a_fixed_schedule_costs_what_renyi_composition_says(order):
    accountant = RdpAccountant([order], NeighboringRelation.REPLACE_SPECIAL)
    accountant.compose(PoissonSampledDpEvent(0.1, GaussianDpEvent(1.3)), 40)
    accountant.compose(GaussianDpEvent(7.0), 3)
    accountant.compose(LaplaceDpEvent(6.0), 5)
    history = [
        sampled(1.3, steps=40),
        Gaussian(noise_multiplier=7.0, num_steps=3),
        Laplace(noise_multiplier=6.0, num_steps=5),
    ]
    assert filter_spent(history, order) == pytest.approx(accountant._rdp[0], rel=1e-9)


@pytest.mark.parametrize("order", [1.1, 3.9, *FRACTIONAL_ORDERS[::20], 10.9])
def test_at_fractional_orders_divergences_lie_between_their_neighbours(order):
    # (order - 1) * divergence is convex in the order: 0 at order 1.
    for mechanism in (sampled(1.1), *(kind(noise_multiplier=3.0, num_steps=1) for kind in KINDS)):
        below, above = max(math.floor(order), 1), math.ceil(order)
        log_moment = {o: (o - 1) * filter_spent([mechanism], o) for o in {order, above, below} - {1}} | {
            1: 0.0
        }
        share = (order - below) / (above - below)
        assert 0 < log_moment[order] < (1 - share) * log_moment[below] + share * log_moment[above]


def test_every_step_and_less_noise_cost_more():
    order = filter_order(BUDGET)
    for kind in (*KINDS, lambda **settings: PoissonGaussian(sample_rate=Fraction(1, 9), **settings)):
        by_noise = [
            filter_spent([kind(noise_multiplier=n, num_steps=2)], order) for n in (0.3, 1.0, 9.0, 200.0)
        ]
        assert all(less > more for less, more in itertools.pairwise(by_noise))
        by_steps = [filter_spent([kind(noise_multiplier=2.0, num_steps=n)], order) for n in (1, 2, 50)]
        assert by_steps == pytest.approx([by_steps[0] * n for n in (1, 2, 50)], rel=1e-12)


def test_order_and_division_of_a_history_do_not_matter():
    history = [sampled(1.3, steps=3), Gaussian(noise_multiplier=7.0, num_steps=2), sampled(1.7)]
    pieces = [sampled(1.7), sampled(1.3), Gaussian(noise_multiplier=7.0, num_steps=2), sampled(1.3, steps=2)]
    assert filter_spent(history, 3.9) == filter_spent(pieces, 3.9)


def test_what_passes_is_refused_at_the_first_step_beyond_the_capacity():
    order, chance, history = filter_order(BUDGET), random.Random(3), []
    while True:
        wanted = sampled(
            chance.uniform(1.2, 4), rate=f"{chance.randint(1, 9)}/40", steps=chance.randint(1, 50)
        )
        if not within_filter([*history, wanted], BUDGET, order):
            break
        history.append(wanted)
    assert len(history) > 5
    assert filter_spent(history, order) <= filter_capacity(BUDGET, order)
    assert filter_spent([*history, wanted], order) > filter_capacity(BUDGET, order)
    assert epsilon_pld(history, BUDGET.delta) < BUDGET.epsilon


# An adversary who sees every answer. Counts have two losses, +1/b and -1/b, so what it knows of the record is
# the sum of the signs it saw with each b, and the best way on from there can be found for every such state.

SCALES = (0.7, 1.5, 4.0)
State = tuple[int, ...]


def counts(asked: State) -> list[DiscreteLaplace]:
    return [DiscreteLaplace(noise_multiplier=b, num_steps=n) for b, n in zip(SCALES, asked, strict=True) if n]


def step(state: State, scale: int, change: int) -> State:
    return tuple(value + change * (index == scale) for index, value in enumerate(state))


def best_adaptive(value: Callable[[float], float], permitted: Callable[[State], bool]) -> float:
    """Return the largest expected value of the likelihood ratio, without the record, over all strategies."""
    permitted = functools.cache(permitted)

    @functools.cache
    def best(asked: State, signs: State) -> float:
        ratio = math.exp(sum(sign / scale for sign, scale in zip(signs, SCALES, strict=True)))
        answers = [value(ratio)]
        for index, scale in enumerate(SCALES):
            if permitted(step(asked, index, 1)):
                up = 1 / (1 + math.exp(1 / scale))
                higher = best(step(asked, index, 1), step(signs, index, 1))
                lower = best(step(asked, index, 1), step(signs, index, -1))
                answers.append(up * higher + (1 - up) * lower)
        return max(answers)

    return best((0,) * len(SCALES), (0,) * len(SCALES))


def excess(epsilon: float) -> Callable[[float], float]:
    return lambda ratio: max(ratio - math.exp(epsilon), 0.0)


SMALL = PrivacyBudget(epsilon=2.0, delta=0.1)


@pytest.mark.parametrize("budget", [SMALL, PrivacyBudget(epsilon=3.0, delta=0.02)])
def test_no_adaptive_adversary_gets_more_than_the_budget_past_the_filter(budget):
    order = filter_order(budget)
    delta = best_adaptive(excess(budget.epsilon), lambda asked: within_filter(counts(asked), budget, order))
    assert 0.2 * budget.delta < delta <= budget.delta


@pytest.mark.parametrize("order", [1.5, 2.5, 6])
def test_no_adaptive_adversary_gets_more_divergence_than_the_capacity(order):
    budget = PrivacyBudget(epsilon=4.0, delta=0.1)
    capacity = filter_capacity(budget, order)
    moment = best_adaptive(
        lambda ratio: ratio**order, lambda asked: within_filter(counts(asked), budget, order)
    )
    assert 0.5 * capacity < math.log(moment) / (order - 1) <= capacity


def test_the_adversary_finds_a_filter_that_lets_twice_as_much_pass():
    order = filter_order(SMALL)
    capacity = 2 * filter_capacity(SMALL, order)
    delta = best_adaptive(excess(SMALL.epsilon), lambda asked: filter_spent(counts(asked), order) <= capacity)
    assert delta > SMALL.delta


def test_the_claim_alone_is_no_filter():
    # Each history's claim keeps the budget, and yet choosing on the way reaches 1.4 times its delta.
    def permitted(asked: State) -> bool:
        return epsilon_pld(counts(asked), SMALL.delta) <= SMALL.epsilon

    assert best_adaptive(excess(SMALL.epsilon), permitted) > 1.4 * SMALL.delta
