"""Find the one number that is missing: noise, rounds or epsilon, for one kind of client."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from common.errors import BudgetExhausted
from common.planning.question import MOST_ROUNDS, Holding, Question
from common.privacy.accounting import epsilon_upper_bound, within_budget
from common.privacy.budget import PrivacyBudget
from common.privacy.calibration import calibrate_noise_multiplier
from common.privacy.filter import within_filter
from common.privacy.mechanisms import Mechanism, PoissonGaussian, merge

MOST_POINTS = 40
MOST_EXACT = 24
"""Kinds of clients up to which affordable rounds are found exactly."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What clients of one kind will run.

    Args:
        rounds: of the whole training; where they were asked for, the most that the budget affords.
        own_rounds: in which such a client is asked, on average; 0 where not even one is affordable.
        affordable: most own rounds within the budget, None without a budget, never above `MOST_ROUNDS`.
        at_least: whether `affordable` is where the search ended, and one round more might fit.
        fits: whether at least one round is planned and all of them keep within the budget.
    """

    holding: Holding
    noise_multiplier: float
    sample_rate: Fraction
    steps: int
    rounds: int
    own_rounds: int
    affordable: int | None
    at_least: bool
    fits: bool

    def history(self, own_rounds: int) -> tuple[Mechanism, ...]:
        """Return everything charged once that many planned rounds are over."""
        if own_rounds == 0:
            return self.holding.prior
        return merge((*self.holding.prior, self._mechanism(own_rounds)))

    def _mechanism(self, own_rounds: int) -> PoissonGaussian:
        return PoissonGaussian(
            noise_multiplier=self.noise_multiplier,
            sample_rate=self.sample_rate,
            num_steps=self.steps * own_rounds,
        )


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The epsilon of one client after a round of the whole training; never below the claim."""

    round: int
    epsilon: float


def solve(question: Question, holding: Holding) -> Solution:
    """Answer the question for one kind of client.

    Raises:
        BudgetExhausted: when no noise permitted is enough, or the budget is spent already.
    """
    rate = question.sample_rate_at(holding.num_examples)
    sigma = question.noise_multiplier or _calibrated(question, holding, rate)
    terms = _Terms(question=question, holding=holding, noise_multiplier=sigma, sample_rate=rate)
    affordable = terms.affordable()
    rounds = question.rounds
    if rounds is None:
        rounds = min(question.rounds_for(affordable or 0), MOST_ROUNDS)
    own_rounds = question.own_rounds(rounds)
    return Solution(
        holding=holding,
        noise_multiplier=sigma,
        sample_rate=rate,
        steps=question.steps,
        rounds=rounds,
        own_rounds=own_rounds,
        affordable=affordable,
        at_least=question.rounds is None and (affordable == MOST_ROUNDS or not terms.exact),
        fits=own_rounds > 0 and (question.unknown != "nothing" or terms.keeps(own_rounds, exact=True)),
    )


@dataclass(frozen=True, kw_only=True)
class _Terms:
    """The mechanism of one kind of client, held against what limits it."""

    question: Question
    holding: Holding
    noise_multiplier: float
    sample_rate: Fraction

    @property
    def exact(self) -> bool:
        """A close call takes the accountant half a second, too long for hundreds of different clients."""
        return len(self.question.holdings) <= MOST_EXACT

    def affordable(self) -> int | None:
        """Return the most own rounds within the budget, at most `MOST_ROUNDS`; None without a budget.

        Epsilon grows with every round, so the limit is found by doubling and halving.
        """
        if self.question.epsilon is None:
            return None
        if self.question.unknown == "noise":
            return self.question.own_rounds(self.question.rounds or 1)
        low, high = 0, 1
        while high <= MOST_ROUNDS and self.keeps(high, exact=self.exact):
            low, high = high, 2 * high
        high = min(high, MOST_ROUNDS + 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.keeps(middle, exact=self.exact) else (low, middle)
        return low

    def keeps(self, own_rounds: int, *, exact: bool) -> bool:
        """Say whether so many rounds keep within the budget, and within the ledger's filter if it has one.

        Args:
            exact: False decides by a bound at most about 0.02 % too high, and so may refuse a close call.
        """
        budget, limit = _budget(self.question, self.holding), self.holding.filter
        mechanism = PoissonGaussian(
            noise_multiplier=self.noise_multiplier,
            sample_rate=self.sample_rate,
            num_steps=self.question.steps * own_rounds,
        )
        history = (*self.holding.prior, mechanism)
        if limit and not within_filter(history, limit.budget, limit.order):
            return False
        if exact:
            return within_budget(history, budget)
        return epsilon_upper_bound(history, budget.delta) <= budget.epsilon


def epsilon_curve(question: Question, solution: Solution, final: float) -> tuple[CurvePoint, ...]:
    """Return the epsilon before the first round, after the last one, and at up to 40 rounds between.

    Args:
        final: the exact epsilon after the last round, which no earlier one exceeds.
    """
    delta = solution.holding.delta
    return tuple(
        CurvePoint(
            round=number,
            epsilon=min(final, epsilon_upper_bound(solution.history(question.own_rounds(number)), delta)),
        )
        for number in curve_rounds(solution.rounds)
    )


def curve_rounds(rounds: int) -> tuple[int, ...]:
    """Return all rounds of a short training from 0, and evenly spaced ones of a long one."""
    if rounds <= MOST_POINTS:
        return tuple(range(rounds + 1))
    return tuple(sorted({round(index * rounds / MOST_POINTS) for index in range(MOST_POINTS + 1)} | {1}))


def _calibrated(question: Question, holding: Holding, rate: Fraction) -> float:
    """Return the least noise that keeps within the budget, and within the ledger's filter if it has one."""
    num_steps = question.steps * question.own_rounds(question.rounds or 1)
    budget, limit = _budget(question, holding), holding.filter
    try:
        noise = calibrate_noise_multiplier(
            budget=budget, sample_rate=rate, num_steps=num_steps, prior=holding.prior
        )
        if limit is None:
            return noise
        filtered = calibrate_noise_multiplier(
            budget=limit.budget,
            sample_rate=rate,
            num_steps=num_steps,
            prior=holding.prior,
            filter_order=limit.order,
        )
        return max(noise, filtered)
    except BudgetExhausted as error:
        raise BudgetExhausted(f"a client with {holding.num_examples:,} examples: {error}") from None


def _budget(question: Question, holding: Holding) -> PrivacyBudget:
    return PrivacyBudget(epsilon=question.epsilon or math.nan, delta=holding.delta)
