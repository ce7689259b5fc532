"""Laws that epsilon and calibration keep over random settings."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy.accounting import epsilon_pld, epsilon_rdp, epsilon_upper_bound
from common.privacy.bound import epsilon_at_interval
from common.privacy.budget import PrivacyBudget
from common.privacy.calibration import calibrate_noise_multiplier
from common.privacy.decimals import decimal_text, parse_decimal
from common.privacy.filter import filter_order, filter_spent, within_filter
from common.privacy.mechanisms import (
    DiscreteLaplace,
    Gaussian,
    Laplace,
    PoissonGaussian,
    Unprotected,
    from_json,
    merge,
    to_json,
)

rates = st.fractions(Fraction(1, 100), Fraction(1), max_denominator=1000)
sigmas = st.floats(0.6, 20.0)
mechanisms = st.one_of(
    st.builds(
        PoissonGaussian,
        noise_multiplier=st.floats(1e-3, 1e4),
        sample_rate=st.builds(Fraction, st.integers(1, 10**6), st.integers(10**6, 10**12)),
        num_steps=st.integers(1, 10**9),
    ),
    *(
        st.builds(kind, noise_multiplier=st.floats(1e-3, 1e4), num_steps=st.integers(1, 10**9))
        for kind in (Gaussian, Laplace, DiscreteLaplace)
    ),
    st.builds(Unprotected, num_steps=st.integers(1, 10**9)),
)
mixed_histories = st.lists(
    st.one_of(
        st.builds(
            PoissonGaussian,
            noise_multiplier=st.floats(1.5, 10.0),
            sample_rate=st.fractions(Fraction(1, 1000), Fraction(1, 10), max_denominator=1000),
            num_steps=st.integers(1, 200),
        ),
        st.builds(Gaussian, noise_multiplier=st.floats(3.0, 60.0), num_steps=st.integers(1, 9)),
        st.builds(Laplace, noise_multiplier=st.floats(0.5, 60.0), num_steps=st.integers(1, 30)),
        st.builds(DiscreteLaplace, noise_multiplier=st.floats(0.5, 60.0), num_steps=st.integers(1, 30)),
    ),
    min_size=1,
    max_size=4,
)

quick = settings(derandomize=True, deadline=None, max_examples=40)
slow = settings(derandomize=True, deadline=None, max_examples=8)


def epsilon(sigma: float, rate: Fraction, steps: int, delta: float = 1e-5) -> float:
    mechanism = PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, num_steps=steps)
    return epsilon_at_interval([mechanism], delta, interval=3.2e-3)


@quick
@given(sigmas, rates, st.integers(1, 200), st.integers(1, 50))
def test_more_steps_never_cost_less(sigma, rate, steps, more):
    assert epsilon(sigma, rate, steps + more) >= epsilon(sigma, rate, steps)


@quick
@given(sigmas, rates, st.integers(1, 200), st.floats(1.001, 3.0))
def test_more_noise_never_costs_more(sigma, rate, steps, factor):
    assert epsilon(sigma * factor, rate, steps) <= epsilon(sigma, rate, steps) * (1 + 1e-9)


@quick
@given(sigmas, rates, rates, st.integers(1, 200))
def test_a_higher_sample_rate_never_costs_less(sigma, one, other, steps):
    low, high = sorted((one, other))
    assert epsilon(sigma, low, steps) <= epsilon(sigma, high, steps) * (1 + 1e-9)


@quick
@given(sigmas, rates, st.integers(1, 200), st.floats(1.01, 100.0))
def test_a_smaller_delta_never_gives_a_smaller_epsilon(sigma, rate, steps, factor):
    assert epsilon(sigma, rate, steps, 1e-5 / factor) >= epsilon(sigma, rate, steps, 1e-5)


@slow
@given(st.floats(0.8, 10.0), rates, st.integers(1, 100))
def test_rdp_and_the_bound_are_never_below_the_claim(sigma, rate, steps):
    history = [PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, num_steps=steps)]
    claim = epsilon_pld(history, 1e-5)
    assert epsilon_upper_bound(history, 1e-5) >= claim
    assert epsilon_rdp(history, 1e-5) >= claim * (1 - 1e-3)


@quick
@given(mixed_histories, st.sampled_from([1e-4, 1e-5, 1e-7]))
def test_the_bound_of_a_mixed_history_is_never_below_the_claim_nor_far_above(history, delta):
    claim, bound = epsilon_pld(history, delta), epsilon_upper_bound(history, delta)
    assert claim * (1 - 1e-9) <= bound <= claim * 1.002 + 1e-6


@quick
@given(mixed_histories, st.floats(0.5, 10.0))
def test_what_a_filter_lets_pass_is_within_the_budget_by_the_bound_too(history, epsilon):
    budget = PrivacyBudget(epsilon=epsilon, delta=1e-5)
    if within_filter(history, budget, filter_order(budget)):
        assert epsilon_upper_bound(history, 1e-5) <= epsilon + 1e-4 * sum(m.num_steps for m in history)


@quick
@given(mixed_histories, mixed_histories)
def test_a_filter_s_divergences_add_up(one, other):
    for order in (1.1, 3.9, 64):
        together = filter_spent(one, order) + filter_spent(other, order)
        assert abs(filter_spent(one + other, order) / together - 1) < 1e-12


@slow
@given(st.floats(0.3, 12.0), rates, st.integers(1, 200), st.sampled_from([1e-5, 1e-6, 1e-8]), st.booleans())
def test_calibration_keeps_the_budget_and_uses_it(target, rate, steps, delta, spent_before):
    budget = PrivacyBudget(epsilon=target, delta=delta)
    prior = ()
    if spent_before:
        prior = (PoissonGaussian(noise_multiplier=25.0, sample_rate=Fraction(1, 50), num_steps=10),)
    sigma = calibrate_noise_multiplier(budget=budget, sample_rate=rate, num_steps=steps, prior=prior)
    run = PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, num_steps=steps)
    assert 0.997 * target <= epsilon_pld((*prior, run), delta) <= target


@quick
@given(mechanisms)
def test_json_round_trips(mechanism):
    assert from_json(to_json(mechanism)) == mechanism


@quick
@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: str(x) != "-0.0"))
def test_decimals_round_trip(value):
    assert parse_decimal(decimal_text(value)) == value


@quick
@given(st.lists(mechanisms, max_size=8), st.randoms())
def test_merge_ignores_order_and_keeps_every_step(history, chance):
    shuffled = list(history)
    chance.shuffle(shuffled)
    merged = merge(history)
    assert merge(shuffled) == merged
    assert sum(m.num_steps for m in merged) == sum(m.num_steps for m in history)
