"""The claim and its cross-checks against answers that owe nothing to the code under test."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from fractions import Fraction

import dp_accounting
import numpy as np
import pytest
from dp_accounting.dp_event import DiscreteLaplaceDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from scipy import integrate, optimize, stats

from common.privacy.accounting import epsilon_pld, epsilon_rdp, epsilon_unamplified, epsilon_upper_bound
from common.privacy.mechanisms import DiscreteLaplace, Gaussian, Laplace, Mechanism, PoissonGaussian
from common.privacy.renyi import ORDERS, WHOLE_ORDERS

SPECIAL = dp_accounting.NeighboringRelation.REPLACE_SPECIAL
REPLACE_ONE = dp_accounting.NeighboringRelation.REPLACE_ONE

HISTORIES = 200


def poisson(sigma: float, rate: str | Fraction, steps: int) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=Fraction(rate), num_steps=steps)


def random_history(chance: random.Random) -> list[Mechanism]:
    """Draw one to four mechanisms of any kind; their losses span little, which keeps the accountant quick."""
    kinds = {
        PoissonGaussian: lambda: {
            "noise_multiplier": chance.uniform(2, 6),
            "sample_rate": Fraction(chance.randint(1, 30), 400),
            "num_steps": chance.randint(2, 300),
        },
        Gaussian: lambda: {"noise_multiplier": chance.uniform(20, 60), "num_steps": chance.randint(2, 20)},
        Laplace: lambda: {"noise_multiplier": chance.uniform(3, 30), "num_steps": chance.randint(2, 12)},
        DiscreteLaplace: lambda: {
            "noise_multiplier": chance.uniform(3, 30),
            "num_steps": chance.randint(2, 12),
        },
    }
    return [kind(**kinds[kind]()) for kind in chance.choices(list(kinds), k=chance.randint(1, 4))]


def in_pieces(history: list[Mechanism], chance: random.Random) -> list[Mechanism]:
    pieces: list[Mechanism] = []
    for mechanism in history:
        first = chance.randint(1, mechanism.num_steps - 1)
        pieces.append(replace(mechanism, num_steps=first))
        pieces.append(replace(mechanism, num_steps=mechanism.num_steps - first))
    chance.shuffle(pieces)
    return pieces


def event(mechanism: Mechanism) -> dp_accounting.DpEvent:
    noise = mechanism.noise_multiplier
    one_step = {
        PoissonGaussian: lambda: dp_accounting.PoissonSampledDpEvent(
            float(mechanism.sample_rate), dp_accounting.GaussianDpEvent(noise)
        ),
        Gaussian: lambda: dp_accounting.GaussianDpEvent(noise),
        Laplace: lambda: dp_accounting.LaplaceDpEvent(noise),
        DiscreteLaplace: lambda: DiscreteLaplaceDpEvent(1 / noise, 1),
    }[type(mechanism)]()
    return dp_accounting.SelfComposedDpEvent(one_step, mechanism.num_steps)


def pld(history: list[Mechanism], delta: float) -> float:
    accountant = PLDAccountant(SPECIAL, 1e-4)
    for mechanism in history:
        accountant.compose(event(mechanism))
    return accountant.get_epsilon(delta)


def rdp(history: list[Mechanism], delta: float) -> tuple[float, float]:
    """Return epsilon and order at whole orders, a count being the randomised response it equals."""
    accountant = RdpAccountant(WHOLE_ORDERS, SPECIAL)
    responses = RdpAccountant(WHOLE_ORDERS, REPLACE_ONE)
    for mechanism in history:
        if isinstance(mechanism, DiscreteLaplace):
            lie = 2 / (1 + math.exp(1 / mechanism.noise_multiplier))
            response = dp_accounting.dp_event.RandomizedResponseDpEvent(lie, 2)
            responses.compose(response, mechanism.num_steps)
        else:
            accountant.compose(event(mechanism))
    accountant._rdp = accountant._rdp + responses._rdp
    return accountant.get_epsilon_and_optimal_order(delta)


def test_random_mixed_histories_cost_what_dp_accounting_says():
    chance, differences = random.Random(20), []
    for _ in range(HISTORIES):
        history, delta = random_history(chance), 10 ** -chance.uniform(4, 7)
        claim, expected = epsilon_pld(in_pieces(history, chance), delta), pld(history, delta)
        assert claim == pytest.approx(expected, rel=1e-3), history
        differences.append(abs(claim / expected - 1))
    assert max(differences) < 1e-8


def test_random_mixed_histories_cost_what_dp_accounting_s_renyi_accountant_says():
    chance = random.Random(21)
    for _ in range(HISTORIES):
        history, delta = random_history(chance), 10 ** -chance.uniform(4, 7)
        ours, (expected, order) = epsilon_rdp(in_pieces(history, chance), delta), rdp(history, delta)
        assert ours <= expected * (1 + 1e-9)
        if order > 11:  # Below, fractional orders, which the accountant has not, lie in between.
            assert ours == pytest.approx(expected, rel=1e-9), history


def integrated_delta(epsilon: float, mean: float) -> float:
    """Integrate the part of N(mean, 1) that lies above exp(epsilon) N(0, 1)."""
    threshold = epsilon / mean + mean / 2
    value, _ = integrate.quad(
        lambda x: stats.norm.pdf(x - mean) - math.exp(epsilon - x * x / 2) / math.sqrt(2 * math.pi),
        threshold,
        threshold + 12,
        epsabs=0,
        epsrel=1e-10,
        limit=200,
    )
    return value


def integrated_epsilon(sigma: float, steps: int, delta: float) -> float:
    mean = math.sqrt(steps) / sigma
    if integrated_delta(0, mean) <= delta:
        return 0.0
    high = mean * (mean / 2 + 7)
    return optimize.brentq(lambda e: math.log(integrated_delta(e, mean) / delta), 0, high, xtol=1e-12)


@pytest.mark.parametrize("steps", [1, 4, 30])
@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.3, 9.0, 40.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8])
def test_gaussian_claim_is_never_below_the_integral_and_a_thousandth_above_at_most(sigma, steps, delta):
    exact = integrated_epsilon(sigma, steps, delta)
    histories = [[Gaussian(noise_multiplier=sigma, num_steps=steps)]]
    if sigma > 2:
        histories.append([poisson(sigma, "1", steps)])
    for history in histories:
        assert exact * (1 - 1e-9) <= epsilon_pld(history, delta) <= exact * (1 + 1e-3) + 1e-9
        assert epsilon_unamplified(history, delta) == pytest.approx(exact, rel=1e-6, abs=1e-9)


def exact_count_epsilon(scale: float, steps: int, delta: float) -> float:
    """Solve the binomial sum: each of the counts' losses is +1/b or -1/b."""
    truths = np.arange(steps + 1)
    masses = stats.binom.pmf(truths, steps, 1 / (1 + math.exp(-1 / scale)))
    losses = (2 * truths - steps) / scale

    def curve(epsilon: float) -> float:
        above = losses > epsilon
        return float(np.sum(masses[above] * -np.expm1(epsilon - losses[above])))

    return 0.0 if curve(0) <= delta else optimize.brentq(lambda e: curve(e) - delta, 0, losses[-1])


@pytest.mark.parametrize(("scale", "steps"), [(1.0, 1), (3.7, 7), (10.0, 100), (30.0, 100), (0.2, 5)])
def test_counts_cost_at_least_the_exact_sum_and_at_most_a_rounding_more(scale, steps):
    history = [DiscreteLaplace(noise_multiplier=scale, num_steps=steps)]
    exact = exact_count_epsilon(scale, steps, 1e-5)
    assert exact - 1e-9 <= epsilon_pld(history, 1e-5) <= exact + 1e-4 * steps
    assert exact - 1e-9 <= epsilon_upper_bound(history, 1e-5) <= exact + 1e-4 * steps


@pytest.mark.parametrize("scale", [0.3, 1.0, 25.0])
def test_one_laplace_release_costs_what_its_curve_says(scale):
    # delta(e) = 1 - exp((e - 1/b) / 2), solved for e.
    for delta in (1e-5, 1e-3):
        exact = max(0.0, 1 / scale + 2 * math.log1p(-delta))
        claim = epsilon_pld([Laplace(noise_multiplier=scale, num_steps=1)], delta)
        assert exact - 1e-12 <= claim <= exact + 1e-4


def test_laplace_noise_has_no_amplification_to_lose():
    history = [
        Laplace(noise_multiplier=8.0, num_steps=30),
        DiscreteLaplace(noise_multiplier=8.0, num_steps=5),
    ]
    assert epsilon_unamplified(history, 1e-6) == epsilon_pld(history, 1e-6)


def test_unamplified_with_laplace_noise_is_that_of_full_batches():
    laplace = Laplace(noise_multiplier=5.0, num_steps=4)
    history = [poisson(9.0, "0.1", 5), Gaussian(noise_multiplier=20.0, num_steps=3), laplace]
    full = [poisson(9.0, "1", 5), Gaussian(noise_multiplier=20.0, num_steps=3), laplace]
    assert epsilon_unamplified(history, 1e-5) == pytest.approx(pld(full, 1e-5), rel=1e-3)
    assert epsilon_pld(history, 1e-5) < epsilon_unamplified(history, 1e-5)


def test_unamplified_beyond_the_accountant_s_reach_is_the_sum_of_the_parts():
    history = [poisson(1.0, "0.01", 1000), Laplace(noise_multiplier=0.5, num_steps=3)]
    assert epsilon_unamplified(history[:1], 1e-5) > 600
    apart = epsilon_unamplified(history[:1], 1e-5) + 6
    assert epsilon_unamplified(history, 1e-5) == pytest.approx(apart, rel=1e-12)


def test_five_epochs_by_a_fresh_engine_each_round_cost_more_than_it_says():
    # A fresh engine says 3.441 after every round: sigma 1, batches of a tenth, one epoch a round, RDP.
    one_round = poisson(1.0, "0.1", 10)
    truth = [round(epsilon_rdp([one_round] * rounds, 1e-5), 3) for rounds in range(1, 6)]
    assert truth == [3.441, 4.224, 4.848, 5.389, 5.881]


@pytest.mark.parametrize(
    "mechanism",
    [
        poisson(1e-5, "0.1", 1),
        poisson(1.0, "0.1", 10**8),
        poisson(1e-200, "1/1000", 1),
        Gaussian(noise_multiplier=1e-5, num_steps=1),
        Gaussian(noise_multiplier=1.0, num_steps=2**53 - 1),
        Laplace(noise_multiplier=1e-300, num_steps=1),
        Laplace(noise_multiplier=1.0, num_steps=10**8),
        DiscreteLaplace(noise_multiplier=1e-8, num_steps=1),
    ],
)
def test_what_the_accountant_cannot_compute_counts_as_infinite(mechanism):
    for delta, epsilon in itertools.product((1e-5, 1e-9), (epsilon_pld, epsilon_upper_bound)):
        assert epsilon([mechanism], delta) == math.inf
    assert epsilon_rdp([mechanism], 1e-5) > 1e4
    assert epsilon_unamplified([mechanism], 1e-5) > 1e4


@pytest.mark.parametrize("kind", [Gaussian, Laplace, DiscreteLaplace])
def test_noise_of_any_size_costs_something_and_not_much(kind):
    history = [kind(noise_multiplier=1e300, num_steps=3)]
    for epsilon in (epsilon_pld, epsilon_upper_bound, epsilon_rdp, epsilon_unamplified):
        assert 0 <= epsilon(history, 1e-9) < 0.02


def test_every_order_of_the_curve_is_one_the_accountants_know():
    assert set(WHOLE_ORDERS) < set(ORDERS)
    assert all(order > 1.01 for order in ORDERS)
