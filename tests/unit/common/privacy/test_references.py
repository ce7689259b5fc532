"""The claim and its cross-checks against answers that owe nothing to the code under test."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction

import dp_accounting
import pytest
from dp_accounting.dp_event import DiscreteLaplaceDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from common.privacy.accounting import epsilon_pld, epsilon_rdp
from common.privacy.mechanisms import DiscreteLaplace, Gaussian, Laplace, Mechanism, PoissonGaussian
from common.privacy.renyi import WHOLE_ORDERS

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
    print(max(differences))


def test_random_mixed_histories_cost_what_dp_accounting_s_renyi_accountant_says():
    chance, differences = random.Random(21), []
    for _ in range(HISTORIES):
        history, delta = random_history(chance), 10 ** -chance.uniform(4, 7)
        ours, (expected, order) = epsilon_rdp(in_pieces(history, chance), delta), rdp(history, delta)
        assert ours <= expected * (1 + 1e-9)
        if order > 11:  # Below, fractional orders, which the accountant has not, lie in between.
            assert ours == pytest.approx(expected, rel=1e-9), history
        differences.append(abs(ours / expected - 1))
    print(max(differences))
