from __future__ import annotations

import itertools
import logging
import math
from fractions import Fraction

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from common.privacy import accounting
from common.privacy.accounting import (
    epsilon_pld,
    epsilon_rdp,
    epsilon_unamplified,
    epsilon_upper_bound,
    largest_epsilon,
    within_budget,
)
from common.privacy.bound import epsilon_at_interval
from common.privacy.budget import PrivacyBudget
from common.privacy.mechanisms import PoissonGaussian, Unprotected

DELTA = 1e-5


def gaussian(sigma: float, rate: str, steps: int) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=Fraction(rate), num_steps=steps)


REFERENCE = (gaussian(1.1, "0.02", 500), gaussian(1.4, "0.02", 500))


def test_five_equal_rounds_do_not_report_five_equal_epsilons():
    one_round = gaussian(1.6, "0.2", 20)
    after = [epsilon_pld([one_round] * rounds, DELTA) for rounds in range(1, 6)]
    assert all(later > earlier * 1.05 for earlier, later in itertools.pairwise(after))
    assert after[4] == pytest.approx(direct([(1.6, 0.2, 100)]), rel=1e-9)
    assert after[4] < 5 * after[0]


def direct(history: list[tuple[float, float, int]], delta: float = DELTA) -> float:
    """Ask dp-accounting without any of the code under test."""
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.REPLACE_SPECIAL, 1e-4)
    for sigma, rate, steps in history:
        event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
        accountant.compose(dp_accounting.SelfComposedDpEvent(event, steps))
    return accountant.get_epsilon(delta)


def test_reference_history_has_the_published_epsilons():
    assert epsilon_pld(REFERENCE, DELTA) == pytest.approx(2.7756, abs=1e-4)
    assert epsilon_rdp(REFERENCE, DELTA) == pytest.approx(3.0711, abs=2e-4)


def test_claim_is_that_of_dp_accounting_in_any_order_and_division():
    pieces = (gaussian(2.0, "0.2", 7), gaussian(4.0, "0.1", 9), gaussian(2.0, "1/5", 3))
    expected = direct([(2.0, 0.2, 10), (4.0, 0.1, 9)])
    assert epsilon_pld(pieces, DELTA) == pytest.approx(expected, rel=1e-9)
    assert epsilon_pld(pieces[::-1], DELTA) == epsilon_pld(pieces, DELTA)


def test_one_full_batch_step_has_the_gaussian_mechanism_s_epsilon():
    # Balle and Wang 2018, Theorem 8, solved by hand: sigma 1, delta 1e-5.
    assert epsilon_pld([gaussian(1.0, "1", 1)], DELTA) == pytest.approx(4.3772, abs=1e-3)
    assert epsilon_unamplified([gaussian(1.0, "0.01", 1)], DELTA) == pytest.approx(4.3772, abs=1e-4)


def test_unamplified_composes_like_one_gaussian():
    # 4 steps of sigma 2 are one of sigma 1, and so are 1 step of sqrt 2 and 2 steps of 2.
    for history in ([gaussian(2.0, "0.1", 4)], [gaussian(math.sqrt(2), "0.1", 1), gaussian(2.0, "0.3", 2)]):
        assert epsilon_unamplified(history, DELTA) == pytest.approx(4.3772, abs=1e-4)


def test_unamplified_is_what_full_batches_cost():
    history = (gaussian(11.0, "0.02", 50), gaussian(14.0, "0.02", 50))
    expected = direct([(11.0, 1, 50), (14.0, 1, 50)])
    assert epsilon_unamplified(history, DELTA) == pytest.approx(expected, rel=1e-4)
    assert epsilon_unamplified(REFERENCE, DELTA) > 100 * epsilon_pld(REFERENCE, DELTA)


@pytest.mark.parametrize("epsilon", [epsilon_pld, epsilon_rdp, epsilon_unamplified, epsilon_upper_bound])
def test_nothing_costs_nothing_and_no_noise_costs_everything(epsilon):
    assert epsilon((), DELTA) == 0.0
    assert epsilon((Unprotected(num_steps=1),), DELTA) == math.inf
    assert epsilon((gaussian(5.0, "0.2", 3), Unprotected(num_steps=1)), DELTA) == math.inf


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"),
    [(1.1, "0.02", 1000), (1.5, "0.2", 274), (3.0, "0.2", 2000), (0.8, "0.1", 300), (4.0, "1", 100)],
)
def test_rdp_equals_opacus_up_to_epsilon_25(sigma, rate, steps):
    from opacus.accountants import RDPAccountant

    theirs = RDPAccountant()
    theirs.history = [(sigma, float(Fraction(rate)), steps)]
    expected = theirs.get_epsilon(delta=DELTA)
    assert expected < 25
    assert epsilon_rdp([gaussian(sigma, rate, steps)], DELTA) == pytest.approx(expected, rel=0.006)


def test_rdp_never_warns_of_orders_left_out(caplog):
    with caplog.at_level(logging.WARNING):
        for sigma, rate in [(2.0, "0.2"), (1.0, "0.4"), (30.0, "0.5"), (0.5, "0.05")]:
            epsilon_rdp([gaussian(sigma, rate, 11)], DELTA)
    assert not caplog.records


def test_rdp_is_above_the_claim_and_within_a_fifth():
    for history in (REFERENCE, [gaussian(1.4439, "0.2", 100)], [gaussian(6.0, "0.2", 50)]):
        assert 1.02 < epsilon_rdp(history, DELTA) / epsilon_pld(history, DELTA) < 1.2


def test_rdp_of_almost_nothing_is_not_rounded_to_nothing():
    assert epsilon_rdp([gaussian(1000.0, "0.0001", 1)], 1e-12) > 0


def test_little_noise_takes_a_wider_grid_and_stays_pessimistic():
    history = [gaussian(0.12, "0.01", 5)]
    claimed = epsilon_pld(history, DELTA)
    assert claimed == pytest.approx(epsilon_at_interval(history, DELTA, interval=1e-3), rel=1e-3)


def test_upper_bound_lies_just_above_the_claim():
    for history in (REFERENCE, (gaussian(1.4439, "0.2", 100),), (gaussian(40.0, "0.2", 7),)):
        claim, bound = epsilon_pld(history, DELTA), epsilon_upper_bound(history, DELTA)
        assert claim <= bound <= claim * 1.001


def test_equal_histories_are_computed_once(monkeypatch):
    counted = count_calls(monkeypatch)
    history = (gaussian(3.21, "0.17", 5),)
    first = epsilon_pld(history, DELTA)
    assert [epsilon_pld(history * 1, DELTA) for _ in range(1000)] == [first] * 1000
    assert len(counted) == 1


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    calls: list[object] = []

    class Counted(PLDAccountant):
        def get_epsilon(self, target_delta):
            calls.append(target_delta)
            return super().get_epsilon(target_delta)

    monkeypatch.setattr(accounting, "PLDAccountant", Counted)
    return calls


def test_largest_epsilon_asks_the_accountant_once(monkeypatch):
    calls = count_calls(monkeypatch)
    histories = [((gaussian(2.0 + client / 10, "0.15", 4),), 1e-6) for client in range(30)]
    largest = largest_epsilon(histories * 2)
    assert len(calls) == 1
    assert largest == pytest.approx(direct([(2.0, 0.15, 4)], 1e-6), rel=1e-4)


def test_largest_epsilon_of_near_equals_is_not_below_any_of_them():
    histories = [((gaussian(3.0 + client * 1e-6, "0.15", 4),), DELTA) for client in range(3)]
    assert largest_epsilon(histories) >= max(epsilon_pld(*history) for history in histories)


def test_largest_epsilon_of_nothing_and_of_no_noise():
    assert largest_epsilon([]) == 0.0
    assert largest_epsilon([((), DELTA), ((Unprotected(num_steps=1),), DELTA)]) == math.inf


def test_within_budget_is_decided_by_the_claim_itself():
    history = (gaussian(1.9, "0.2", 30),)
    claim = epsilon_pld(history, DELTA)
    assert within_budget(history, PrivacyBudget(epsilon=claim, delta=DELTA))
    assert not within_budget(history, PrivacyBudget(epsilon=claim * (1 - 1e-5), delta=DELTA))


def test_within_budget_settles_clear_cases_without_the_accountant(monkeypatch):
    calls = count_calls(monkeypatch)
    history = (gaussian(1.91, "0.2", 30),)
    assert within_budget(history, PrivacyBudget(epsilon=8.0, delta=DELTA))
    assert not within_budget(history, PrivacyBudget(epsilon=1.0, delta=DELTA))
    assert not within_budget((Unprotected(num_steps=1),), PrivacyBudget(epsilon=1.0, delta=DELTA))
    assert not calls


def test_the_largest_epsilon_of_a_single_history() -> None:
    history = (PoissonGaussian(noise_multiplier=1.1, sample_rate=Fraction(1, 50), num_steps=500),)
    assert largest_epsilon([(history, DELTA)]) == epsilon_pld(history, DELTA)
