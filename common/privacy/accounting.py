"""What a history of mechanisms costs.

`epsilon_pld` is the claim; `epsilon_rdp` is a cross-check by other mathematics, 6 to 15 per cent higher;
`epsilon_unamplified` is what remains true if the sampling were not secret. All three compose every
mechanism they are given: adding up epsilons of rounds is wrong, and so is reporting the last round's.

Privacy: one record of one client, zero-out adjacency (`NeighboringRelation.REPLACE_SPECIAL`), so the size
of a data set is public. The adversary sees every message, so nothing is claimed from client sampling.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from dp_accounting import (
    DpEvent,
    GaussianDpEvent,
    LaplaceDpEvent,
    NeighboringRelation,
    PoissonSampledDpEvent,
)
from dp_accounting.dp_event import DiscreteLaplaceDpEvent
from dp_accounting.gaussian_mechanism import get_epsilon_gaussian
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from numpy.typing import NDArray

from common.privacy.bound import BOUND_PRECISION, SLACK, claim_interval, epsilon_bound
from common.privacy.budget import PrivacyBudget
from common.privacy.mechanisms import Mechanism, merge
from common.privacy.memo import OncePerKey
from common.privacy.noise import Gaussian, Laplace, PoissonGaussian, Protected, accountable
from common.privacy.renyi import ORDERS, renyi_curve

ADJACENCY = NeighboringRelation.REPLACE_SPECIAL

_MOST_BOUND = 600.0
"""Beyond this the accountant's own exponentials underflow, and no bound can vouch for its answer."""

_WIDEST_INTERVAL = 100.0
"""Losses so wide that the claim's interval would exceed this overflow: their epsilon counts as infinite."""

_MOST_STEPS = 10**7
"""More take the accountant minutes or gigabytes: their epsilon counts as infinite."""

_Key = tuple[tuple[Mechanism, ...], float]


def epsilon_pld(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """Return the epsilon that FedLedger claims for a history.

    dp-accounting's privacy loss distributions, rounded pessimistically to multiples of 1e-4, or of 2e-4,
    4e-4 and so on where little noise would make 1e-4 take gigabytes (`bound.claim_interval`). Discrete
    Laplace noise is rounded most: up to 1e-4 of every step's loss.

    Args:
        mechanisms: every mechanism ever run on the data set, in any order.
        delta: in (0, 1).

    Returns:
        0.0 for an empty history, infinity if it holds training without noise.
    """
    return _PLD((merge(mechanisms), delta))


def epsilon_rdp(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """Return the epsilon of a history by Renyi differential privacy, to cross-check the claim.

    Source: `renyi.renyi_curve` for one step; Canonne, Kamath, Steinke 2020, Proposition 12.
    """
    return _RDP((merge(mechanisms), delta))


def epsilon_unamplified(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """Return an epsilon of a history that holds if every record had been in every batch.

    This is all that shuffled or fixed-size batches may claim, or a client whose sampling is known.
    Gaussian mechanisms compose into one Gaussian mechanism, whose epsilon is exact. With Laplace noise it is
    the lesser of two upper bounds: the claim of that one mechanism and the rest, and their epsilons' sum.
    Source: Balle and Wang 2018, Theorem 8; Dwork and Roth 2014, Theorem 3.16 (sum).
    """
    protected = accountable(merge(mechanisms))
    if protected is None:
        return math.inf
    normal = [m for m in protected if isinstance(m, PoissonGaussian | Gaussian)]
    others = [m for m in protected if not isinstance(m, PoissonGaussian | Gaussian)]
    precision = sum(mechanism.num_steps / mechanism.noise_multiplier**2 for mechanism in normal)
    with np.errstate(divide="ignore"):
        exact = float(get_epsilon_gaussian(precision**-0.5, delta)) if normal else 0.0
    total = exact + sum(mechanism.num_steps / mechanism.noise_multiplier for mechanism in others)
    if not others or total > _MOST_BOUND:
        return total
    joint = [Gaussian(noise_multiplier=precision**-0.5, num_steps=1)] if normal else []
    return min(total, epsilon_pld([*joint, *others], delta))


def epsilon_upper_bound(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """Return an epsilon that is never below `epsilon_pld` and at most about 0.02 % above it, in milliseconds.

    For decisions and screens that need the epsilons of many different histories; `bound` says why it holds.
    """
    return _BOUND((merge(mechanisms), delta))


def within_budget(mechanisms: Iterable[Mechanism], budget: PrivacyBudget) -> bool:
    """Say whether a claimed epsilon is at most the budget's; only a close call takes the accountant."""
    merged = merge(mechanisms)
    bound = epsilon_upper_bound(merged, budget.delta)
    if bound <= budget.epsilon * (1 - SLACK):
        return True
    if bound > budget.epsilon * (1 + 4 * BOUND_PRECISION):
        return False
    return epsilon_pld(merged, budget.delta) <= budget.epsilon


def largest_epsilon(histories: Iterable[tuple[Iterable[Mechanism], float]]) -> float:
    """Return the largest epsilon among many (history, delta), with one call of the accountant.

    The accountant is asked for the history with the highest bound. If another history's bound lies above
    that answer, that bound is returned: at most about 0.02 % too high, never too low.
    """
    bounds = {(merge(mechanisms), delta): 0.0 for mechanisms, delta in histories}
    for key in bounds:
        bounds[key] = _BOUND(key)
    ranked = sorted(bounds, key=bounds.__getitem__, reverse=True)
    if not ranked or math.isinf(bounds[ranked[0]]):
        return math.inf if ranked else 0.0
    return max([_PLD(ranked[0]), *(bounds[key] for key in ranked[1:2])])


def event_of(mechanism: Protected) -> DpEvent:
    """Return one step of a mechanism as dp-accounting has it."""
    noise = float(mechanism.noise_multiplier)
    if isinstance(mechanism, PoissonGaussian):
        return PoissonSampledDpEvent(float(mechanism.sample_rate), GaussianDpEvent(noise))
    if isinstance(mechanism, Gaussian):
        return GaussianDpEvent(noise)
    return LaplaceDpEvent(noise) if isinstance(mechanism, Laplace) else DiscreteLaplaceDpEvent(1 / noise, 1)


def _computable(merged: tuple[Mechanism, ...]) -> tuple[Protected, ...] | None:
    """Return what the accountant can compose, or None where it can't and epsilon counts as infinite."""
    protected = accountable(merged)
    if not protected:
        return protected
    num_steps = sum(mechanism.num_steps for mechanism in protected if not isinstance(mechanism, Gaussian))
    return protected if claim_interval(protected) <= _WIDEST_INTERVAL and num_steps <= _MOST_STEPS else None


def _compute_pld(key: _Key) -> float:
    merged, delta = key
    protected = _computable(merged)
    if not protected:
        return math.inf if protected is None else 0.0
    accountant = PLDAccountant(ADJACENCY, claim_interval(protected))
    for mechanism in protected:
        accountant.compose(event_of(mechanism), mechanism.num_steps)
    return float(accountant.get_epsilon(delta))


def _compute_bound(key: _Key) -> float:
    merged, delta = key
    protected = _computable(merged)
    if protected is None:
        return math.inf
    bound = epsilon_bound(protected, delta, precision=BOUND_PRECISION)
    return bound if bound < _MOST_BOUND else _PLD(key)


def _compute_rdp(key: _Key) -> float:
    merged, delta = key
    protected = accountable(merged)
    if not protected:
        return math.inf if protected is None else 0.0
    total = np.sum([m.num_steps * _CURVE(replace(m, num_steps=1)) for m in protected], axis=0)
    return float(compute_epsilon(ORDERS, total, delta)[0])


_PLD: OncePerKey[_Key, float] = OncePerKey(_compute_pld)
_RDP: OncePerKey[_Key, float] = OncePerKey(_compute_rdp)
_BOUND: OncePerKey[_Key, float] = OncePerKey(_compute_bound)
_CURVE: OncePerKey[Protected, NDArray[np.float64]] = OncePerKey(renyi_curve)
