"""Plans answer each question, and the answers agree with each other and with the accountant."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import pytest

from common.errors import BudgetExhausted
from common.planning.plan import Plan, make_plan
from common.planning.question import Filter, Holding, Question, holdings_of
from common.planning.solving import curve_rounds
from common.privacy.accounting import epsilon_pld, epsilon_rdp, epsilon_unamplified, within_budget
from common.privacy.budget import PrivacyBudget
from common.privacy.filter import filter_order, within_filter
from common.privacy.mechanisms import Mechanism, PoissonGaussian

TEN_ALIKE = Question(
    holdings=holdings_of([6000] * 10, None), epsilon=8.0, rounds=60, sample_rate=Fraction(1, 10)
)


def plan_for(**values) -> Plan:
    return make_plan(dataclasses.replace(TEN_ALIKE, **values))


def steps_of(number: int, noise_multiplier: float = 1.0, rate: Fraction = Fraction(1, 10)) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=noise_multiplier, sample_rate=rate, num_steps=number)


def affords(history: tuple[Mechanism, ...], epsilon: float, delta: float = 1e-5) -> bool:
    return within_budget(history, PrivacyBudget(epsilon=epsilon, delta=delta))


def test_the_noise_found_spends_the_budget_to_a_thousandth():
    (group,) = plan_for().groups
    assert group.epsilon <= 8.0
    assert group.epsilon > 8.0 * 0.999
    assert group.fits
    back = plan_for(epsilon=None, noise_multiplier=group.noise_multiplier)
    assert back.groups[0].epsilon == group.epsilon
    assert back.groups[0].budget is None


def test_the_epsilons_are_the_accountants():
    (group,) = plan_for(epsilon=None, noise_multiplier=1.3, steps=3).groups
    history = (steps_of(180, 1.3),)
    assert group.steps == 180
    assert group.epsilon == epsilon_pld(history, 1e-5)
    assert group.epsilon_rdp == epsilon_rdp(history, 1e-5)
    assert group.epsilon_unamplified == epsilon_unamplified(history, 1e-5)
    assert group.epsilon < group.epsilon_rdp < group.epsilon_unamplified


@pytest.mark.parametrize("steps", [1, 4])
def test_one_round_more_than_affordable_does_not_fit(steps):
    (group,) = plan_for(rounds=None, noise_multiplier=1.0, epsilon=3.0, steps=steps).groups
    assert affords((steps_of(group.rounds * steps),), 3.0)
    assert not affords((steps_of((group.rounds + 1) * steps),), 3.0)
    assert not group.at_least
    assert plan_for(rounds=group.rounds, noise_multiplier=1.0, epsilon=3.0, steps=steps).fits
    assert not plan_for(rounds=group.rounds + 1, noise_multiplier=1.0, epsilon=3.0, steps=steps).fits


def test_a_budget_that_affords_no_round_says_so_and_spends_nothing():
    plan = plan_for(rounds=None, noise_multiplier=0.5, epsilon=0.1)
    (group,) = plan.groups
    assert (group.rounds, group.own_rounds, group.epsilon, group.fits) == (0, 0, 0.0, False)
    assert plan.average is None
    assert not plan.fits


def test_the_search_for_rounds_ends_at_a_million():
    (group,) = plan_for(rounds=None, noise_multiplier=1000.0, sample_rate=Fraction(1, 10**6)).groups
    assert group.rounds == 1_000_000
    assert group.at_least


def test_a_client_asked_in_half_of_the_rounds_needs_the_noise_of_half_of_them():
    halved, whole = plan_for(participation=Fraction(1, 2)), plan_for(rounds=30)
    assert halved.groups[0].own_rounds == 30
    assert halved.groups[0].noise_multiplier == whole.groups[0].noise_multiplier
    assert halved.groups[0].epsilon == whole.groups[0].epsilon


def test_asking_half_affords_twice_the_rounds():
    given = {"rounds": None, "noise_multiplier": 1.0, "epsilon": 3.0}
    whole, halved = plan_for(**given), plan_for(**given, participation=Fraction(1, 2))
    assert halved.groups[0].rounds == 2 * whole.groups[0].rounds
    assert halved.groups[0].own_rounds == whole.groups[0].own_rounds


def test_dropping_out_saves_no_budget_and_makes_the_average_noisier():
    stayed, dropped = plan_for(), plan_for(dropout=0.75)
    assert dropped.groups[0].epsilon == stayed.groups[0].epsilon
    assert dropped.groups[0].noise_multiplier == stayed.groups[0].noise_multiplier
    assert dropped.average == pytest.approx(2 * stayed.average)


def test_the_noise_of_step_average_and_whole_training():
    plan = plan_for(epsilon=None, noise_multiplier=2.0, num_parameters=62_500, rounds=64)
    assert plan.groups[0].expected_batch == 600
    assert plan.groups[0].noise_to_signal == pytest.approx(2.0 * 250 / 600)
    assert plan.average == pytest.approx(2.0 * 250 / 600 / math.sqrt(10))
    assert plan.altogether == pytest.approx(plan.average / 8)


def test_with_a_batch_size_smaller_clients_need_more_noise():
    plan = plan_for(holdings=holdings_of([500, 6000, 12_000], None), sample_rate=None, batch_size=100)
    rates = [group.sample_rate for group in plan.groups]
    assert rates == [Fraction(1, 5), Fraction(1, 60), Fraction(1, 120)]
    noises = [group.noise_multiplier for group in plan.groups]
    assert noises == sorted(noises, reverse=True)
    assert [group.expected_batch for group in plan.groups] == [100, 100, 100]
    assert [group.delta for group in plan.groups] == [1e-5, 1e-5, 1 / 120_000]
    assert all(8 * 0.999 < group.epsilon <= 8 for group in plan.groups)


def test_with_one_rate_a_small_client_burdens_the_average():
    plan = plan_for(holdings=holdings_of([500, 6000, 6000], None))
    assert [group.burden for group in plan.groups] == [True, False]
    assert plan.average > plan_for(holdings=holdings_of([6000, 6000], None)).average


def test_what_a_ledger_has_spent_counts():
    prior = (steps_of(40, 1.5), steps_of(10, 2.0, Fraction(1, 5)))
    holding = Holding(num_examples=6000, delta=1e-5, prior=prior)
    plan = plan_for(holdings=(holding,), whole_federation=False)
    (group,) = plan.groups
    assert group.spent == pytest.approx(epsilon_pld(prior, 1e-5), rel=1e-3)
    assert group.epsilon == epsilon_pld((*prior, steps_of(60, group.noise_multiplier)), 1e-5)
    assert 8 * 0.999 < group.epsilon <= 8
    assert group.noise_multiplier > plan_for().groups[0].noise_multiplier
    assert group.curve[0].epsilon == pytest.approx(group.spent)
    assert plan.average is None
    assert plan.other_sizes == ()


def test_rounds_after_a_ledger_are_those_still_to_come():
    prior = (steps_of(40),)
    given = {"rounds": None, "noise_multiplier": 1.0, "epsilon": 6.0}
    fresh = plan_for(**given).groups[0].rounds
    later = plan_for(
        **given, holdings=(Holding(num_examples=6000, delta=1e-5, prior=prior),), whole_federation=False
    )
    assert later.groups[0].rounds == fresh - 40


def with_filter(order: float) -> Holding:
    budget = PrivacyBudget(epsilon=8.0, delta=1e-5)
    return Holding(
        num_examples=6000, delta=1e-5, prior=(steps_of(40),), filter=Filter(budget=budget, order=order)
    )


def test_a_ledgers_filter_is_kept_to_and_affords_less_than_plain_composition():
    budget = PrivacyBudget(epsilon=8.0, delta=1e-5)
    order = filter_order(budget)
    given = {"rounds": None, "noise_multiplier": 1.2, "whole_federation": False}
    rounds = plan_for(**given, holdings=(with_filter(order),)).groups[0].rounds
    plain = plan_for(**given, holdings=(dataclasses.replace(with_filter(order), filter=None),))
    assert 0 < rounds < plain.groups[0].rounds
    history = steps_of(40), steps_of(rounds, 1.2)
    assert within_filter(history, budget, order)
    assert not within_filter((*history, steps_of(1, 1.2)), budget, order)
    longer = given | {"rounds": rounds + 1}
    (group,) = plan_for(**longer, holdings=(with_filter(order),)).groups
    assert group.epsilon < group.budget
    assert not group.fits


def test_noise_is_found_for_the_filter_and_for_a_smaller_target():
    budget = PrivacyBudget(epsilon=8.0, delta=1e-5)
    order = filter_order(budget)
    for target in (8.0, 6.0):
        (group,) = plan_for(epsilon=target, holdings=(with_filter(order),), whole_federation=False).groups
        planned = steps_of(60, group.noise_multiplier)
        assert within_filter((steps_of(40), planned), budget, order)
        assert group.epsilon <= target
        weaker = dataclasses.replace(planned, noise_multiplier=group.noise_multiplier * 0.999)
        history = (steps_of(40), weaker)
        assert not (within_filter(history, budget, order) and affords(history, target))


def test_a_spent_budget_is_one_line_that_names_the_client():
    spent = Holding(num_examples=6000, delta=1e-5, prior=(steps_of(500, 0.6),))
    with pytest.raises(BudgetExhausted, match="a client with 6,000 examples: epsilon .* is spent"):
        plan_for(holdings=(spent,))


def test_the_curve_rises_to_the_final_epsilon_and_is_never_below_the_claim():
    (group,) = plan_for().groups
    values = [point.epsilon for point in group.curve]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.0, group.epsilon)
    for point in group.curve[1::15]:
        exact = epsilon_pld((steps_of(point.round, group.noise_multiplier),), 1e-5)
        assert exact <= point.epsilon <= exact * 1.0005


@pytest.mark.parametrize(("rounds", "first", "number"), [(3, [0, 1, 2, 3], 4), (100_000, [0, 1, 2500], 42)])
def test_a_long_plan_has_a_few_dozen_points(rounds, first, number):
    points = curve_rounds(rounds)
    assert list(points[: len(first)]) == first
    assert points[-1] == rounds
    assert len(points) == number


def test_more_rounds_ask_for_more_noise_and_the_plan_is_among_them():
    others = plan_for().other_rounds
    assert [other.rounds for other in others if other.planned] == [60]
    noises = [other.noise_multiplier for other in others]
    assert noises == sorted(noises)
    assert len(others) == 7
    assert plan_for(epsilon=None, noise_multiplier=1.0).other_rounds == ()


def test_larger_clients_see_less_noise_and_the_plan_is_among_them():
    plan = plan_for()
    ratios = [other.noise_to_signal for other in plan.other_sizes]
    assert ratios == sorted(ratios, reverse=True)
    (planned,) = [other for other in plan.other_sizes if other.planned]
    assert planned.num_examples == 6000
    assert planned.noise_to_signal == plan.groups[0].noise_to_signal
    assert planned.average == plan.average


def test_of_many_kinds_of_clients_rounds_are_never_too_many():
    question = dataclasses.replace(
        TEN_ALIKE,
        holdings=holdings_of(range(600, 900, 10), None),
        sample_rate=None,
        batch_size=300,
        rounds=None,
        noise_multiplier=2.0,
        epsilon=2.0,
    )
    plan = make_plan(question)
    assert len(plan.groups) == 30
    assert all(group.at_least for group in plan.groups)
    assert sum(bool(group.curve) for group in plan.groups) == 8
    for group in (plan.groups[0], plan.groups[-1]):
        assert affords((steps_of(group.rounds, 2.0, group.sample_rate),), 2.0)
        assert not affords((steps_of(group.rounds + 2, 2.0, group.sample_rate),), 2.0)
