"""A budget that is kept even when settings are chosen in view of what was released before.

The claim (`accounting.epsilon_pld`) composes mechanisms that were fixed before the first output was seen.
Whoever changes noise, sample rate or steps because of earlier outputs needs a privacy filter: it adds up the
Renyi divergences of all mechanisms at one order and refuses a mechanism that would bring the sum above a
capacity fixed in advance. What it guarantees is the budget itself, whenever it stops, and nothing less.

The order is a parameter of the theorem: it is chosen before the first charge and stays. To look for the order
that gives the least epsilon afterwards, as `accounting.epsilon_rdp` does, is not covered.

Source: Feldman and Zrnic 2021, "Individual Privacy Accounting via a Renyi Filter", Theorem 4.3 (the filter),
which rests on Theorem 3.1 (divergences that are chosen adaptively and stay within a fixed sum).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from common.errors import ConfigError
from common.privacy.budget import PrivacyBudget
from common.privacy.mechanisms import Mechanism, merge
from common.privacy.memo import OncePerKey
from common.privacy.noise import Protected, accountable
from common.privacy.renyi import ORDERS, renyi_curve


def filter_order(budget: PrivacyBudget) -> float:
    """Choose the order at which a budget leaves most room for Gaussian noise.

    The divergence of Gaussian noise is its order times a constant, so that is the order with the largest
    ratio of capacity to order; of equals, the least.

    Raises:
        ConfigError: when epsilon is so small that every order's conversion alone exceeds it.
    """
    order = max(sorted(ORDERS), key=lambda order: filter_capacity(budget, order) / order)
    if filter_capacity(budget, order) == 0:
        least = min(_conversion(order, budget.delta) for order in ORDERS)
        raise ConfigError(
            f"epsilon is {budget.epsilon:g}, permitted for adaptive settings at delta {budget.delta:g} is "
            f"more than {least:.3g}: raise epsilon or delta, or keep one setting for the data set's life"
        )
    return float(order)


def filter_capacity(budget: PrivacyBudget, order: float) -> float:
    """Return the Renyi divergence that may be spent at an order, 0 where the order leaves no room.

    Source: Canonne, Kamath, Steinke 2020, Proposition 12, solved for the divergence.

    Raises:
        ConfigError: when the order is not one of `renyi.ORDERS`.
    """
    _check_order(order)
    return max(0.0, budget.epsilon - _conversion(order, budget.delta))


def filter_spent(mechanisms: Iterable[Mechanism], order: float) -> float:
    """Return the sum of the Renyi divergences of a history at an order, infinite with training without noise.

    Raises:
        ConfigError: when the order is not one of `renyi.ORDERS`.
    """
    _check_order(order)
    protected = accountable(merge(mechanisms))
    if protected is None:
        return math.inf
    return math.fsum(m.num_steps * _STEP((replace(m, num_steps=1), float(order))) for m in protected)


def within_filter(mechanisms: Iterable[Mechanism], budget: PrivacyBudget, order: float) -> bool:
    """Say whether a history, with the mechanism that is about to run, is within what the filter lets pass.

    Privacy: if this is asked before every charge with all that was ever charged, a refused mechanism is never
        run, and budget and order were fixed before the first charge, then all outputs together are
        (budget.epsilon, budget.delta)-private, however each setting depended on outputs before it.

    Raises:
        ConfigError: when the order is not one of `renyi.ORDERS`.
    """
    return filter_spent(mechanisms, order) <= filter_capacity(budget, order)


def _conversion(order: float, delta: float) -> float:
    """Return what turning a divergence into epsilon adds, as dp-accounting's `compute_epsilon` does."""
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def _check_order(order: float) -> None:
    if order not in ORDERS:
        raise ConfigError(
            f"filter order is {order!r}, permitted is 1.1 to 10.9 in tenths, 2 to 64, or one of 72, 80, 96, "
            "128, 192, 256, 384, 512 and 1024: take the one that filter_order gives for the budget"
        )


def _divergence(key: tuple[Protected, float]) -> float:
    mechanism, order = key
    return float(renyi_curve(mechanism, (order,))[0])


_STEP: OncePerKey[tuple[Protected, float], float] = OncePerKey(_divergence)
