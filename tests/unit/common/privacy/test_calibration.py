from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest

from common.errors import BudgetExhausted, ConfigError
from common.privacy import accounting, bound, calibration
from common.privacy.accounting import epsilon_pld, within_budget
from common.privacy.budget import PrivacyBudget
from common.privacy.calibration import calibrate_noise_multiplier
from common.privacy.filter import filter_capacity, filter_order, filter_spent, within_filter
from common.privacy.mechanisms import DiscreteLaplace, Gaussian, Laplace, PoissonGaussian, Unprotected

DELTA = 1e-5


def gaussian(sigma: float, rate: str, steps: int) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=Fraction(rate), num_steps=steps)


def calibrate(
    epsilon: float, rate: str, steps: int, prior=(), delta: float = DELTA, order: float | None = None
) -> float:
    return calibrate_noise_multiplier(
        budget=PrivacyBudget(epsilon=epsilon, delta=delta),
        sample_rate=Fraction(rate),
        num_steps=steps,
        prior=tuple(prior),
        filter_order=order,
    )


@pytest.mark.parametrize(
    ("epsilon", "rate", "steps"),
    [(8.0, "0.2", 100), (1.0, "0.01", 300), (0.1, "0.2", 5), (3.0, "1", 50), (8.0, "0.05", 20)],
)
def test_budget_is_kept_and_used(epsilon, rate, steps):
    sigma = calibrate(epsilon, rate, steps)
    assert sigma == round(sigma, 4)
    spent = epsilon_pld([gaussian(sigma, rate, steps)], DELTA)
    assert 0.997 * epsilon <= spent <= epsilon
    assert epsilon_pld([gaussian(sigma * 0.999, rate, steps)], DELTA) > epsilon


def test_known_answer():
    # sigma by bisection on dp-accounting's PLDAccountant at 1e-4: 1.4436 for epsilon 8.
    assert calibrate(8.0, "0.2", 100) == pytest.approx(1.4436, abs=6e-4)


def test_what_is_spent_already_is_counted():
    prior = (gaussian(2.0, "0.1", 50), gaussian(3.0, "0.2", 10))
    sigma = calibrate(4.0, "0.2", 40, prior)
    spent = epsilon_pld((*prior, gaussian(sigma, "0.2", 40)), DELTA)
    assert 0.997 * 4 <= spent <= 4
    assert sigma > calibrate(4.0, "0.2", 40)
    assert sigma == calibrate(4.0, "0.2", 40, prior[::-1])


def test_a_planned_run_is_within_budget_after_its_last_round_without_the_accountant(monkeypatch):
    sigma = calibrate(6.0, "0.2", 12 * 5)
    monkeypatch.setattr(accounting, "_PLD", None)
    done = [gaussian(sigma, "0.2", 5)] * 12
    assert within_budget(done, PrivacyBudget(epsilon=6.0, delta=DELTA))
    assert not within_budget([*done, done[0]], PrivacyBudget(epsilon=6.0, delta=DELTA))


def test_a_spent_budget_is_refused_in_one_line():
    with pytest.raises(BudgetExhausted, match="of 1 is spent at delta 1e-05") as caught:
        calibrate(1.0, "0.2", 1, [gaussian(1.0, "0.2", 20)])
    assert "\n" not in str(caught.value)


def test_training_without_noise_spends_every_budget():
    with pytest.raises(BudgetExhausted, match="inf of 5"):
        calibrate(5.0, "0.2", 1, [Unprotected(num_steps=1)])


def test_a_budget_that_no_noise_can_keep_is_refused():
    with pytest.raises(BudgetExhausted, match="even with noise multiplier 1000"):
        calibrate(0.001, "1", 100_000)


def test_what_remains_of_a_nearly_spent_budget_can_be_used():
    prior = (gaussian(2.0, "0.2", 100),)
    almost = epsilon_pld(prior, DELTA) * 1.002
    sigma = calibrate(almost, "0.2", 10, prior)
    assert epsilon_pld((*prior, gaussian(sigma, "0.2", 10)), DELTA) <= almost


def test_a_huge_budget_gets_the_least_noise_and_is_kept():
    sigma = calibrate(5000.0, "0.01", 1)
    assert calibration.LEAST_NOISE_MULTIPLIER <= sigma <= calibration.LEAST_NOISE_MULTIPLIER + 2e-4


def test_settings_out_of_range_are_refused():
    budget = PrivacyBudget(epsilon=1.0, delta=DELTA)
    with pytest.raises(ConfigError, match="sample_rate"):
        calibrate_noise_multiplier(budget=budget, sample_rate=Fraction(0), num_steps=1)
    with pytest.raises(ConfigError, match="num_steps"):
        calibrate_noise_multiplier(budget=budget, sample_rate=Fraction(1, 5), num_steps=0)


def test_many_different_clients_ask_the_accountant_never_and_the_bound_rarely(monkeypatch):
    calls = count_bounds(monkeypatch)
    monkeypatch.setattr(accounting, "_PLD", None)
    chance = random.Random(5)
    for client in range(100):
        calibrate(8.0, f"{chance.randint(40, 400)}/1009", 20 + client, delta=10 ** -chance.uniform(5, 7))
    assert len(calls) <= 100 * 10


def count_bounds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    calls: list[float] = []
    compute = bound.epsilon_at_interval

    def counted(mechanisms, delta, *, interval):
        calls.append(interval)
        return compute(mechanisms, delta, interval=interval)

    monkeypatch.setattr(bound, "epsilon_at_interval", counted)
    return calls


def test_a_thousand_equal_clients_at_once_are_one_calculation(monkeypatch):
    calls = count_bounds(monkeypatch)
    start = threading.Barrier(20)

    def client(_: int) -> list[float]:
        start.wait()
        return [calibrate(7.77, "0.123", 33) for _ in range(50)]

    with ThreadPoolExecutor(20) as pool:
        answers = [sigma for sigmas in pool.map(client, range(20)) for sigma in sigmas]
    assert len(answers) == 1000
    assert len(set(answers)) == 1
    assert len(calls) <= 15


def test_counts_and_statistics_spent_before_are_counted():
    prior = (
        Gaussian(noise_multiplier=12.0, num_steps=4),
        Laplace(noise_multiplier=20.0, num_steps=10),
        DiscreteLaplace(noise_multiplier=20.0, num_steps=50),
    )
    sigma = calibrate(4.0, "0.1", 40, prior)
    assert 0.997 * 4 <= epsilon_pld((*prior, gaussian(sigma, "0.1", 40)), DELTA) <= 4
    assert sigma > calibrate(4.0, "0.1", 40)


PRIOR = (gaussian(2.0, "0.1", 20), DiscreteLaplace(noise_multiplier=30.0, num_steps=20))


@pytest.mark.parametrize("prior", [(), PRIOR])
@pytest.mark.parametrize(
    ("epsilon", "rate", "steps"),
    [(8.0, "0.2", 100), (1.5, "0.01", 300), (0.2, "0.2", 5), (3.0, "1", 50), (60.0, "0.05", 20)],
)
def test_with_an_order_the_answer_is_the_least_that_the_filter_lets_pass(epsilon, rate, steps, prior):
    budget = PrivacyBudget(epsilon=epsilon, delta=DELTA)
    order = filter_order(budget)
    if not within_filter(prior, budget, order):
        with pytest.raises(BudgetExhausted):
            calibrate(epsilon, rate, steps, prior, order=order)
        return
    sigma = calibrate(epsilon, rate, steps, prior, order=order)
    assert sigma == round(sigma, 4)
    assert within_filter((*prior, gaussian(sigma, rate, steps)), budget, order)
    assert not within_filter((*prior, gaussian(sigma - 0.0001, rate, steps)), budget, order)


def test_adaptive_settings_ask_for_more_noise_than_fixed_ones():
    order = filter_order(PrivacyBudget(epsilon=8.0, delta=DELTA))
    assert 1.03 < calibrate(8.0, "0.2", 100, order=order) / calibrate(8.0, "0.2", 100) < 1.15


def test_a_filter_s_run_stays_within_it_round_by_round_and_not_one_round_longer():
    budget = PrivacyBudget(epsilon=6.0, delta=DELTA)
    order = filter_order(budget)
    one_round = gaussian(calibrate(6.0, "0.2", 12 * 5, order=order), "0.2", 5)
    assert within_filter([one_round] * 12, budget, order)
    assert not within_filter([one_round] * 13, budget, order)


def test_a_spent_filter_is_refused_in_one_line():
    spent = [gaussian(1.0, "0.2", 20)]
    assert filter_spent(spent, 18) > filter_capacity(PrivacyBudget(epsilon=1.0, delta=DELTA), 18)
    with pytest.raises(
        BudgetExhausted, match="fills the filter that keeps the lifetime budget of 1 at"
    ) as caught:
        calibrate(1.0, "0.2", 1, spent, order=18)
    assert "\n" not in str(caught.value)
    with pytest.raises(BudgetExhausted, match="fills the filter"):
        calibrate(8.0, "0.2", 1, [Unprotected(num_steps=1)], order=3.9)


def test_a_filter_that_no_noise_can_keep_is_refused():
    with pytest.raises(BudgetExhausted, match="even with noise multiplier 1000"):
        calibrate(0.01, "1", 10_000, order=1024)


def test_an_order_that_is_not_on_the_list_is_refused():
    with pytest.raises(ConfigError, match="filter order is 3.95"):
        calibrate(8.0, "0.2", 1, order=3.95)


def test_a_huge_budget_gets_the_least_noise_from_the_filter_too():
    assert calibrate(5000.0, "0.01", 1, order=2) == calibration.LEAST_NOISE_MULTIPLIER


def test_the_filter_never_asks_the_accountant_or_the_bound(monkeypatch):
    calls = count_bounds(monkeypatch)
    monkeypatch.setattr(accounting, "_PLD", None)
    calibrate(7.5, "0.11", 20, PRIOR, order=3.9)
    assert not calls
