"""What a client permits, and what exactly it charges."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from client.policy import ClientPolicy
from common.config import PrivacySettings, TrainingSettings
from common.errors import BudgetExhausted, ConfigError, PolicyRefused
from common.ledger import Genesis, Reserve, SigningKey, parse_lines
from common.ledger.chain import LedgerView
from common.ledger.lines import NO_PREVIOUS, write_line
from common.privacy.accounting import epsilon_pld
from common.privacy.budget import PrivacyBudget
from common.privacy.filter import filter_capacity, filter_order, filter_spent, within_filter
from common.privacy.mechanisms import PoissonGaussian, Unprotected
from common.protocol import Proposal

DELTA = 1e-5
KEY = SigningKey.generate()
PRIVATE = ClientPolicy(budget=PrivacyBudget(epsilon=3.0, delta=DELTA))
OPEN = ClientPolicy(budget=None)
PROPOSAL = Proposal(
    training=TrainingSettings(sample_rate=0.1, local_steps=5),
    private=True,
    max_grad_norm=0.7,
    noise_multiplier=None,
    target_epsilon=None,
    planned_rounds=4,
)


def ledger(num_examples: int = 100, *, order: float | None = None) -> LedgerView:
    """A ledger that holds its GENESIS; for settings that may change where `order` is given."""
    terms = {"delta": DELTA, "budget_epsilon": 3.0, "num_examples": num_examples, "filter_order": order}
    genesis = Genesis.new(KEY, **terms, commitment="e" * 64)
    return parse_lines([write_line(genesis, sequence=0, previous=NO_PREVIOUS, key=KEY)])


def charged(view: LedgerView, mechanism: PoissonGaussian, *, run: str) -> LedgerView:
    body = Reserve(
        run=run,
        round=1,
        purpose="train",
        mechanisms=(mechanism,),
        max_grad_norm=1.0,
        normaliser=Fraction(10),
        sampler="poisson",
        noise_source="chacha20",
        input_model="0" * 64,
        server_nonce="c" * 64,
        code_digest="d" * 64,
    )
    return view.extend([write_line(body, sequence=len(view.entries), previous=view.head, key=KEY)])


def noisy(sigma: float, steps: int, rate: Fraction = Fraction(1, 10)) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, num_steps=steps)


@pytest.mark.parametrize(
    ("settings", "num_examples", "rate"),
    [
        ({"sample_rate": 0.2}, 7, Fraction(1, 5)),
        ({"sample_rate": 0.1}, 7, Fraction(1, 10)),
        ({"sample_rate": 1e-05}, 7, Fraction(1, 100_000)),
        ({"sample_rate": 1.0}, 7, Fraction(1)),
        ({"sample_rate": "off", "batch_size": 7}, 41, Fraction(7, 41)),
        ({"sample_rate": "off", "batch_size": 10}, 103, Fraction(10, 103)),
        ({"sample_rate": "off", "batch_size": 64}, 41, Fraction(1)),
    ],
)
def test_the_sample_rate_is_exact(settings, num_examples, rate):
    assert TrainingSettings(**settings).sample_rate_for(num_examples) == rate


@pytest.mark.parametrize(
    ("settings", "rate", "steps"),
    [
        ({"local_steps": 3}, Fraction(1, 10), 3),
        ({"local_steps": "off", "local_epochs": 1}, Fraction(1, 10), 10),
        ({"local_steps": "off", "local_epochs": 2}, Fraction(7, 41), 12),  # 2 * 41/7 = 11.71
        ({"local_steps": "off", "local_epochs": 3}, Fraction(1), 3),
        ({"local_steps": "off", "local_epochs": 1}, Fraction(10, 103), 11),  # 10.3
    ],
)
def test_steps_are_as_set_or_cover_the_epochs(settings, rate, steps):
    assert TrainingSettings(**settings).steps_for(rate) == steps


def test_a_charge_is_all_that_the_round_may_do():
    charge = PRIVATE.permit(replace(PROPOSAL, noise_multiplier=2.5), ledger(), run="r")
    assert charge.mechanism == noisy(2.5, 5)
    assert (charge.sample_rate, charge.max_grad_norm, charge.num_examples) == (Fraction(1, 10), 0.7, 100)
    assert charge.expected_batch_size == 10


def test_calibrated_noise_spends_the_budget_over_the_planned_rounds_and_no_more():
    mechanism = PRIVATE.permit(PROPOSAL, ledger(), run="r").mechanism
    assert isinstance(mechanism, PoissonGaussian)
    assert (mechanism.sample_rate, mechanism.num_steps) == (Fraction(1, 10), 5)
    whole = noisy(mechanism.noise_multiplier, 4 * 5)
    assert 2.99 < epsilon_pld([whole], DELTA) <= 3.0


def test_calibration_gives_the_same_noise_in_every_round_of_a_run():
    view, first = ledger(), PRIVATE.permit(PROPOSAL, ledger(), run="r").mechanism
    for _ in range(3):
        view = charged(view, first, run="r")
        assert PRIVATE.permit(PROPOSAL, view, run="r").mechanism == first
    view = charged(view, first, run="r")
    with pytest.raises(BudgetExhausted):
        PRIVATE.permit(PROPOSAL, view, run="r")


ORDER = filter_order(PrivacyBudget(epsilon=3.0, delta=DELTA))


def test_calibration_counts_what_earlier_runs_spent():
    fresh = PRIVATE.permit(PROPOSAL, ledger(order=ORDER), run="r").mechanism
    earlier = noisy(fresh.noise_multiplier, 10)
    view = charged(ledger(order=ORDER), earlier, run="before")
    later = PRIVATE.permit(PROPOSAL, view, run="r").mechanism
    assert later.noise_multiplier > fresh.noise_multiplier
    history = [earlier, noisy(later.noise_multiplier, 20)]
    budget = PrivacyBudget(epsilon=3.0, delta=DELTA)
    capacity = filter_capacity(budget, ORDER)
    assert 0.999 * capacity < filter_spent(history, ORDER) <= capacity
    assert epsilon_pld(history, DELTA) < 3.0


def test_a_filter_costs_noise_but_leaves_settings_open():
    fixed = PRIVATE.permit(PROPOSAL, ledger(), run="r").mechanism.noise_multiplier
    adaptive = PRIVATE.permit(PROPOSAL, ledger(order=ORDER), run="r").mechanism.noise_multiplier
    assert fixed < adaptive < 1.2 * fixed
    view = charged(ledger(order=ORDER), noisy(5.0, 1), run="before")
    for proposal in (
        replace(PROPOSAL, noise_multiplier=2.0),
        replace(PROPOSAL, noise_multiplier=9.0, training=TrainingSettings(sample_rate=0.05)),
    ):
        assert PRIVATE.permit(proposal, view, run="r").mechanism.noise_multiplier == proposal.noise_multiplier


def test_the_filter_refuses_what_plain_composition_would_still_permit():
    view = ledger(order=ORDER)
    budget = PrivacyBudget(epsilon=3.0, delta=DELTA)
    proposal = replace(PROPOSAL, noise_multiplier=1.1)
    steps = 5
    while within_filter([noisy(1.1, steps)], budget, ORDER):
        view = charged(view, PRIVATE.permit(proposal, view, run="r").mechanism, run="r")
        steps += 5
    assert epsilon_pld([noisy(1.1, steps)], DELTA) < 3.0
    with pytest.raises(BudgetExhausted, match="filter"):
        PRIVATE.permit(proposal, view, run="r")


@pytest.mark.parametrize(
    "change",
    [{"noise_multiplier": 2.5}, {"training": TrainingSettings(sample_rate=0.05), "noise_multiplier": 2.0}],
)
def test_a_ledger_of_fixed_settings_keeps_to_them(change):
    view = charged(ledger(), noisy(2.0, 1), run="before")
    with pytest.raises(PolicyRefused, match=r"for life: propose these, or begin new ledgers") as caught:
        PRIVATE.permit(replace(PROPOSAL, **change), view, run="r")
    assert "\n" not in str(caught.value)
    same = replace(PROPOSAL, noise_multiplier=2.0, training=TrainingSettings(sample_rate=0.1, local_steps=7))
    assert PRIVATE.permit(same, view, run="r").mechanism == noisy(2.0, 7)


def test_noise_left_to_a_client_of_fixed_settings_is_what_it_began_with():
    view = charged(ledger(), noisy(2.0, 1), run="before")
    assert PRIVATE.permit(PROPOSAL, view, run="r").mechanism == noisy(2.0, 5)


@pytest.mark.parametrize("order", [None, ORDER])
def test_a_run_spends_no_more_than_its_target(order):
    proposal = replace(PROPOSAL, target_epsilon=1.5)
    view = ledger(order=order)
    noise = PRIVATE.permit(proposal, view, run="r").mechanism.noise_multiplier
    assert 1.49 < epsilon_pld([noisy(noise, 20)], DELTA) <= 1.5
    for _ in range(4):
        view = charged(view, PRIVATE.permit(proposal, view, run="r").mechanism, run="r")
    with pytest.raises(BudgetExhausted, match=r"this run's target of 1\.5"):
        PRIVATE.permit(proposal, view, run="r")


def test_a_target_never_lifts_the_budget():
    proposal = replace(PROPOSAL, target_epsilon=50.0)
    assert PRIVATE.permit(proposal, ledger(), run="r") == PRIVATE.permit(PROPOSAL, ledger(), run="r")
    with pytest.raises(BudgetExhausted, match="lifetime budget"):
        PRIVATE.permit(replace(proposal, noise_multiplier=0.3), ledger(), run="r")


def test_fixed_noise_is_refused_in_the_first_round_that_would_exceed_the_budget():
    view, rounds = ledger(), 0
    proposal = replace(PROPOSAL, noise_multiplier=1.0)
    while epsilon_pld([noisy(1.0, 5 * (rounds + 1))], DELTA) <= 3.0:
        view = charged(view, PRIVATE.permit(proposal, view, run="r").mechanism, run="r")
        rounds += 1
    assert rounds >= 2
    with pytest.raises(BudgetExhausted, match="lifetime budget of 3 at delta 1e-05") as caught:
        PRIVATE.permit(proposal, view, run="r")
    assert "\n" not in str(caught.value)


def test_charges_of_any_run_count_against_fixed_noise():
    nearly = noisy(1.0, 1)
    while epsilon_pld([noisy(1.0, nearly.num_steps + 5)], DELTA) <= 3.0:
        nearly = noisy(1.0, nearly.num_steps + 5)
    proposal = replace(PROPOSAL, noise_multiplier=1.0)
    assert PRIVATE.permit(proposal, ledger(), run="r").mechanism == noisy(1.0, 5)
    with pytest.raises(BudgetExhausted):
        PRIVATE.permit(proposal, charged(ledger(), nearly, run="another"), run="r")


def test_a_spent_budget_refuses_calibration_too():
    with pytest.raises(BudgetExhausted):
        PRIVATE.permit(PROPOSAL, charged(ledger(), noisy(0.3, 50), run="before"), run="r")


def test_a_private_client_never_trains_without_protection():
    with pytest.raises(PolicyRefused, match="unprotected training was proposed"):
        PRIVATE.permit(replace(PROPOSAL, private=False), ledger(), run="r")


def test_a_ledger_for_unprotected_training_is_for_nothing_else():
    with pytest.raises(PolicyRefused, match="private training was proposed"):
        OPEN.permit(PROPOSAL, ledger(), run="r")
    charge = OPEN.permit(replace(PROPOSAL, private=False), ledger(), run="r")
    assert charge.mechanism == Unprotected(num_steps=5)
    assert charge.sample_rate == Fraction(1, 10)


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_multiplier": 0.0},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": float("nan")},
        {"noise_multiplier": float("inf")},
        {"max_grad_norm": 0.0},
        {"max_grad_norm": float("nan")},
        {"max_grad_norm": float("inf")},
        {"target_epsilon": 0.0},
        {"target_epsilon": -1.0},
        {"target_epsilon": float("nan")},
        {"planned_rounds": 0},
        {"planned_rounds": -3},
    ],
)
def test_a_proposal_out_of_range_is_refused(changes):
    with pytest.raises(ConfigError):
        PRIVATE.permit(replace(PROPOSAL, **changes), ledger(), run="r")


def test_a_simulated_clients_policy_is_the_settings():
    assert ClientPolicy.from_settings(PrivacySettings(epsilon=2.0), delta=1e-6).budget == PrivacyBudget(
        epsilon=2.0, delta=1e-6
    )
    assert ClientPolicy.from_settings(PrivacySettings(enabled=False), delta=1e-6).budget is None
