"""What histories cost, with the accountant asked only where its answer matters.

The accountant takes about half a second for each different history. Clients with equal histories share one
answer. Where a federation holds many different ones, those that could decide the verdict are computed
exactly and the others bounded from above, at most 0.05 % too high; the report says which.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest

from common.privacy.accounting import (
    epsilon_pld,
    epsilon_rdp,
    epsilon_unamplified,
    epsilon_upper_bound,
)
from common.privacy.bound import BOUND_PRECISION, gaussian_estimate
from common.privacy.mechanisms import Mechanism
from common.privacy.noise import accountable

MOST_EXACT_HISTORIES = 24
MOST_EXACT_ROUNDS = 10
MOST_BOUNDED = 4
"""Histories of a round whose epsilon is computed: those that an estimate puts first."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Everything that was charged to a data set, merged, and the terms on which it is judged.

    Args:
        budget: lifetime epsilon, None where the ledger sets none.
    """

    mechanisms: tuple[Mechanism, ...]
    delta: float
    budget: float | None

    @property
    def bound(self) -> float:
        """A quick epsilon that is never below the claim."""
        return epsilon_upper_bound(self.mechanisms, self.delta)

    @property
    def estimate(self) -> float:
        """An epsilon in microseconds, right within some tens of per cent: it ranks like histories rightly."""
        protected = accountable(self.mechanisms)
        return math.inf if protected is None else gaussian_estimate(protected, self.delta)

    @property
    def undecided(self) -> bool:
        """Whether the quick bound cannot tell on which side of the budget the claim lies."""
        if self.budget is None:
            return False
        return self.budget < self.bound <= self.budget * (1 + 4 * BOUND_PRECISION)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Epsilons of one history.

    Args:
        epsilon: by PLD, or a bound at most 0.05 % above it where `exact` is False.
        epsilon_rdp: the cross-check, None where `exact` is False.
        epsilon_unamplified: with sample rate 1.
    """

    epsilon: float
    epsilon_rdp: float | None
    epsilon_unamplified: float
    exact: bool


def spend(histories: Iterable[History]) -> dict[History, Spent]:
    """Compute the epsilons of histories, each different one once."""
    ranked = sorted(set(histories), key=lambda history: history.bound, reverse=True)
    exact = set(ranked[:MOST_EXACT_HISTORIES]) | {history for history in ranked if history.undecided}
    return {history: _spent(history, exact=history in exact) for history in ranked}


def largest_by_round(
    rounds: Sequence[Sequence[History]], final: float, *, leading: int | None = None
) -> list[float]:
    """Return the largest epsilon over clients after each round, for a chart: no claim rests on it.

    Exact for a short run; for a longer one, bounds at most 0.05 % too high. Where the histories of a round
    are many, those that an estimate puts first decide, and that of the client that spent most in the end.

    Args:
        rounds: for each round, the histories of all clients up to it, in one order.
        final: the largest epsilon of the complete histories, which no earlier one exceeds.
        leading: place of the client with that epsilon.
    """
    exact = len(rounds) <= MOST_EXACT_ROUNDS
    return [min(final, _largest(histories, leading, exact=exact)) for histories in rounds]


def _largest(histories: Sequence[History], leading: int | None, *, exact: bool) -> float:
    first = set(nlargest(MOST_BOUNDED, set(histories), key=lambda history: history.estimate))
    if leading is not None:
        first.add(histories[leading])
    largest = max(first, key=lambda history: history.bound, default=None)
    if largest is None:
        return 0.0
    return _epsilon(largest) if exact else largest.bound


def _epsilon(history: History) -> float:
    return epsilon_pld(history.mechanisms, history.delta)


def _spent(history: History, *, exact: bool) -> Spent:
    mechanisms, delta = history.mechanisms, history.delta
    return Spent(
        epsilon=_epsilon(history) if exact else history.bound,
        epsilon_rdp=epsilon_rdp(mechanisms, delta) if exact else None,
        epsilon_unamplified=epsilon_unamplified(mechanisms, delta),
        exact=exact,
    )
