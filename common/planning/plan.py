"""The plan: what a budget buys for every kind of client, and for the model that they train together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from common.audit.spending import History, Spent, spend
from common.planning.alternatives import OtherRounds, OtherSize, other_rounds, other_sizes
from common.planning.cohort import average_of, burdensome, contribution
from common.planning.question import Question
from common.planning.solving import CurvePoint, Solution, epsilon_curve, solve
from common.privacy.accounting import epsilon_upper_bound

MOST_CURVES = 8
"""Different histories whose epsilon is followed round by round; of more, evenly spaced ones."""


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """What equal clients will run, and what it costs each of them.

    Args:
        count: how many clients.
        num_examples: n of each.
        expected_batch: n q, expected examples of a step.
        rounds: of the whole training; where they were asked for, the most that the budget affords.
        at_least: whether that is where the search ended, and a round more might fit.
        own_rounds: in which such a client is asked: the average, rounded up.
        affordable: most own rounds within the budget, None without a budget.
        spent: epsilon before the first planned round.
        epsilon: after the last one, by PLD; a bound at most 0.05 % above it where `exact` is False.
        epsilon_rdp: the cross-check, None where `exact` is False.
        epsilon_unamplified: with sample rate 1.
        budget: epsilon that must not be exceeded, None where it was asked for.
        noise_to_signal: of one step of one client.
        burden: whether the average would be less noisy without such a client.
        fits: whether at least one round is planned and all of them keep within the budget.
        curve: epsilon after each round; empty where too many kinds of clients are planned for.
    """

    count: int
    num_examples: int
    delta: float
    delta_is_large: bool
    sample_rate: Fraction
    expected_batch: float
    noise_multiplier: float
    rounds: int
    at_least: bool
    own_rounds: int
    steps: int
    affordable: int | None
    spent: float
    epsilon: float
    exact: bool
    epsilon_rdp: float | None
    epsilon_unamplified: float
    budget: float | None
    noise_to_signal: float
    burden: bool
    fits: bool
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The answer to a question.

    Args:
        groups: kinds of clients, smallest n first.
        average: noise-to-signal of one averaged update; None where the other clients are not known, or
            none can take part.
        altogether: the same of all updates summed up, if all pulled in one direction; None where not all
            clients run the same number of rounds.
        other_rounds: what more or fewer rounds would ask for.
        other_sizes: what clients with more or fewer examples would see.
    """

    question: Question
    groups: tuple[GroupPlan, ...]
    average: float | None
    altogether: float | None
    other_rounds: tuple[OtherRounds, ...]
    other_sizes: tuple[OtherSize, ...]

    @property
    def fits(self) -> bool:
        """Whether every client can run the plan."""
        return all(group.fits for group in self.groups)

    @property
    def typical(self) -> GroupPlan:
        """The kind of most clients, of equals that in the middle."""
        most = max(group.count for group in self.groups)
        common = [group for group in self.groups if group.count == most]
        return common[len(common) // 2]


def make_plan(question: Question) -> Plan:
    """Answer a question.

    Raises:
        BudgetExhausted: when no noise permitted is enough, or a budget is spent already.
    """
    solutions = [solve(question, holding) for holding in question.holdings]
    average = average_of(question, solutions)
    lengths = {solution.rounds for solution in solutions}
    return Plan(
        question=question,
        groups=_groups(question, solutions),
        average=average,
        altogether=None if average is None or len(lengths) > 1 else average / math.sqrt(*lengths),
        other_rounds=other_rounds(question),
        other_sizes=other_sizes(question),
    )


def _groups(question: Question, solutions: Sequence[Solution]) -> tuple[GroupPlan, ...]:
    histories = [_history(question, solution) for solution in solutions]
    spent = spend(histories)
    followed = set(_spread(list(dict.fromkeys(histories)), MOST_CURVES))
    burdens = burdensome(question, solutions)
    return tuple(
        _group(
            question,
            solution,
            spent[history],
            burden=contribution(question, solution) in burdens,
            followed=history in followed,
        )
        for solution, history in zip(solutions, histories, strict=True)
    )


def _group(
    question: Question, solution: Solution, spent: Spent, *, burden: bool, followed: bool
) -> GroupPlan:
    holding = solution.holding
    return GroupPlan(
        count=holding.count,
        num_examples=holding.num_examples,
        delta=holding.delta,
        delta_is_large=holding.delta_is_large,
        sample_rate=solution.sample_rate,
        expected_batch=float(holding.num_examples * solution.sample_rate),
        noise_multiplier=solution.noise_multiplier,
        rounds=solution.rounds,
        at_least=solution.at_least,
        own_rounds=solution.own_rounds,
        steps=solution.own_rounds * solution.steps,
        affordable=solution.affordable,
        spent=epsilon_upper_bound(holding.prior, holding.delta),
        epsilon=spent.epsilon,
        exact=spent.exact,
        epsilon_rdp=spent.epsilon_rdp,
        epsilon_unamplified=spent.epsilon_unamplified,
        budget=question.epsilon,
        noise_to_signal=contribution(question, solution).noise_to_signal,
        burden=burden,
        fits=solution.fits,
        curve=epsilon_curve(question, solution, spent.epsilon) if followed else (),
    )


def _history(question: Question, solution: Solution) -> History:
    return History(
        mechanisms=solution.history(solution.own_rounds),
        delta=solution.holding.delta,
        budget=question.epsilon,
    )


def _spread(histories: list[History], most: int) -> list[History]:
    """Keep the first, the last and evenly spaced ones between."""
    if len(histories) <= most:
        return histories
    return [histories[round(index * (len(histories) - 1) / (most - 1))] for index in range(most)]
