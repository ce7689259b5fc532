"""How much noise a budget asks for."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

from scipy import special

from common.errors import BudgetExhausted
from common.privacy.accounting import epsilon_pld, within_budget
from common.privacy.bound import BOUND_PRECISION, SLACK, central_limit_square, epsilon_bound
from common.privacy.budget import PrivacyBudget
from common.privacy.filter import within_filter
from common.privacy.mechanisms import Mechanism, PoissonGaussian, merge
from common.privacy.memo import OncePerKey
from common.privacy.noise import accountable

LEAST_NOISE_MULTIPLIER = 0.05
MOST_NOISE_MULTIPLIER = 1000.0

_MOST_EPSILON = 600.0
_COARSE = 1e-2
_FLATTEST, _STEEPEST = 0.3, 8.0
_MOST_SECANTS = 20
_SCALE = 10_000


@dataclass(frozen=True, kw_only=True)
class _Question:
    """One calibration: what is to be spent, by what, after what."""

    budget: PrivacyBudget
    sample_rate: Fraction
    num_steps: int
    prior: tuple[Mechanism, ...]
    filter_order: float | None

    def excess(self, noise_multiplier: float, precision: float) -> float:
        """Return log(bound on epsilon / epsilon to be spent): at most 0 only where the budget is kept."""
        mechanism = self.mechanism(noise_multiplier)
        history = accountable(merge((*self.prior, mechanism)))
        if history is None:
            return math.inf
        bound = epsilon_bound(history, self.budget.delta, precision=precision)
        # Above 700 the accountant's own exponentials underflow and its answers are no longer precise.
        return math.log(max(bound, 1e-12) / (min(self.budget.epsilon, _MOST_EPSILON) * (1 - SLACK)))

    def passes(self, noise_multiplier: float, order: float) -> bool:
        """Say whether a filter at this order lets the steps pass with this noise."""
        return within_filter((*self.prior, self.mechanism(noise_multiplier)), self.budget, order)

    def mechanism(self, noise_multiplier: float) -> PoissonGaussian:
        """Return what would be run with this noise."""
        return PoissonGaussian(
            noise_multiplier=noise_multiplier, sample_rate=self.sample_rate, num_steps=self.num_steps
        )


@dataclass(frozen=True, kw_only=True)
class _Guess:
    """Where a root may be: the logarithm of a noise multiplier, and how log epsilon falls with it there."""

    position: float
    slope: float


def calibrate_noise_multiplier(
    *,
    budget: PrivacyBudget,
    sample_rate: Fraction,
    num_steps: int,
    prior: tuple[Mechanism, ...] = (),
    filter_order: float | None = None,
) -> float:
    """Find the least noise multiplier with which `num_steps` more steps keep within a budget.

    The search asks `bound.epsilon_bound`, which never lies below the claim and at most 0.02 % above it:
    a thousand different clients take seconds, a thousand equal ones a single search. The answer depends on
    the arguments alone, so each client finds it by itself.

    Args:
        budget: the lifetime limit of the data set.
        sample_rate: probability that a record is in a batch, in (0, 1], exact.
        num_steps: number of noisy steps still to be run, at least 1.
        prior: every mechanism already charged to the data set.
        filter_order: the Renyi order of the data set's privacy filter, or None where its settings never
            change and the claim itself is held against the budget.

    Returns:
        A multiple of 0.0001, from 0.05 to 1000, rounded up.

    Raises:
        BudgetExhausted: when the prior alone spends the budget, or no multiplier up to 1000 is enough.
        ConfigError: when a value is out of its range.

    Privacy: `epsilon_pld((*prior, mechanism), budget.delta) <= budget.epsilon`, or with an order
        `within_filter((*prior, mechanism), budget, filter_order)`, for the mechanism with the returned
        multiplier, and with every larger one.
    """
    question = _Question(
        budget=budget,
        sample_rate=sample_rate,
        num_steps=num_steps,
        prior=merge(prior),
        filter_order=filter_order,
    )
    question.mechanism(1.0)
    return _ANSWERS(question)


def _answer(question: _Question) -> float:
    if question.filter_order is not None:
        return _answer_within_filter(question, question.filter_order)
    _refuse_spent(question)
    near = _search(question, _first_guess(question), _COARSE)
    return _round_up(math.exp(_search(question, near, BOUND_PRECISION).position), question)


def _refuse_spent(question: _Question) -> None:
    budget, prior = question.budget, question.prior
    if not within_budget(prior, budget):
        spent = epsilon_pld(prior, budget.delta)
        raise BudgetExhausted(
            f"epsilon {spent:.4g} of {budget.epsilon:g} is spent at delta {budget.delta:g}: "
            "nothing more can be released from this data set"
        )


def _answer_within_filter(question: _Question, order: float) -> float:
    """Bisect the multiples of 0.0001; the divergence at one order takes a tenth of a millisecond."""
    budget = question.budget
    if not within_filter(question.prior, budget, order):
        raise BudgetExhausted(
            f"what was charged fills the filter that keeps the lifetime budget of {budget.epsilon:g} at "
            f"delta {budget.delta:g}: nothing more can be released from this data set"
        )
    low, high = round(LEAST_NOISE_MULTIPLIER * _SCALE) - 1, round(MOST_NOISE_MULTIPLIER * _SCALE)
    if not question.passes(MOST_NOISE_MULTIPLIER, order):
        raise _no_noise_is_enough(question)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if question.passes(middle / _SCALE, order) else (middle, high)
    return high / _SCALE


def _search(question: _Question, guess: _Guess, precision: float) -> _Guess:
    """Close in on the root in logarithms, where epsilon is nearly a straight line.

    Returns:
        A position that keeps the budget, unless it is that of the largest multiplier, and leaves at most
        about twice `precision` of it.
    """
    low, high = math.log(LEAST_NOISE_MULTIPLIER), math.log(MOST_NOISE_MULTIPLIER)
    position, slope, last = guess.position, guess.slope, (math.nan, math.nan)
    for trial in itertools.count():
        excess = question.excess(math.exp(position), precision)
        low, high = (low, position) if excess <= 0 else (position, high)
        if high - low < 1e-6 or -precision <= excess <= 0:
            break
        if not math.isnan(last[0]) and position != last[0]:
            slope = min(max((excess - last[1]) / (position - last[0]), -_STEEPEST), -_FLATTEST)
        last = position, excess
        position -= (excess + precision / 2) / slope
        if trial > _MOST_SECANTS or not low < position < high:
            position = (low + high) / 2
    return _Guess(position=high, slope=slope)


def _round_up(noise_multiplier: float, question: _Question) -> float:
    """Round up to four decimals, and on until the rounded multiplier itself is seen to keep the budget."""
    count = math.ceil(noise_multiplier * _SCALE)
    while count < MOST_NOISE_MULTIPLIER * _SCALE and question.excess(count / _SCALE, BOUND_PRECISION) > 0:
        count += 1
    if count < MOST_NOISE_MULTIPLIER * _SCALE:
        return count / _SCALE
    if question.excess(MOST_NOISE_MULTIPLIER, BOUND_PRECISION) > 0:
        raise _no_noise_is_enough(question)
    return MOST_NOISE_MULTIPLIER


def _no_noise_is_enough(question: _Question) -> BudgetExhausted:
    return BudgetExhausted(
        f"{question.num_steps} steps at sample rate {float(question.sample_rate):.4g} exceed epsilon "
        f"{question.budget.epsilon:g} even with noise multiplier {MOST_NOISE_MULTIPLIER:g}, the most "
        "permitted: take fewer steps, a lower sample rate or a larger budget"
    )


def _first_guess(question: _Question) -> _Guess:
    """Solve the central limit theorem's formula for the noise multiplier."""
    quantile = float(special.ndtri(question.budget.delta))
    square = (quantile + math.sqrt(quantile**2 + 2 * question.budget.epsilon)) ** 2
    square -= sum(central_limit_square(mechanism) for mechanism in accountable(question.prior) or ())
    one_step = max(square, 1e-4) / (question.num_steps * float(question.sample_rate) ** 2)
    guess = 1 / math.sqrt(math.log1p(one_step))
    guess = min(max(guess, 2 * LEAST_NOISE_MULTIPLIER), MOST_NOISE_MULTIPLIER / 2)
    return _Guess(position=math.log(guess), slope=-1.5)


_ANSWERS: OncePerKey[_Question, float] = OncePerKey(_answer)
