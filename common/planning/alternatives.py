"""The same question asked with other numbers of rounds, and with larger or smaller clients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from common.errors import BudgetExhausted
from common.planning.cohort import average_of, contribution
from common.planning.question import MOST_EXAMPLES, MOST_ROUNDS, Holding, Question
from common.planning.solving import Solution, solve
from common.privacy.budget import default_delta

MOST_KINDS = 24
"""Kinds of clients up to which each other number of rounds is calibrated anew."""

_FACTORS = tuple(Fraction(2) ** power for power in range(-3, 4))


@dataclass(frozen=True, kw_only=True)
class OtherRounds:
    """What a training of another length would ask for under the same budget.

    Args:
        noise_multiplier: of the clients that need most.
        noise_to_signal: of one step of those clients.
        average: of one averaged update, None where the other clients are not known.
        altogether: of all updates summed up, if all pulled in one direction; None as above.
        planned: whether this is the plan itself.
    """

    rounds: int
    noise_multiplier: float
    noise_to_signal: float
    average: float | None
    altogether: float | None
    planned: bool


@dataclass(frozen=True, kw_only=True)
class OtherSize:
    """What clients with another number of examples would see, and the average over equal ones.

    Args:
        planned: whether such clients are in the plan.
    """

    num_examples: int
    noise_multiplier: float
    noise_to_signal: float
    average: float | None
    planned: bool


def other_rounds(question: Question) -> tuple[OtherRounds, ...]:
    """Calibrate anew for an eighth to eight times the rounds; nothing where the noise is fixed."""
    if question.unknown != "noise" or question.rounds is None or len(question.holdings) > MOST_KINDS:
        return ()
    lengths = {round(question.rounds * factor) for factor in _FACTORS} | {question.rounds}
    permitted = sorted(length for length in lengths if 1 <= length <= MOST_ROUNDS)
    return tuple(
        _other_length(question, replace(question, rounds=length), solutions)
        for length in permitted
        if (solutions := _solved(replace(question, rounds=length)))
    )


def other_sizes(question: Question) -> tuple[OtherSize, ...]:
    """Answer for clients of an eighth to eight times the examples; nothing for one with a history."""
    if any(holding.prior for holding in question.holdings):
        return ()
    planned = {holding.num_examples for holding in question.holdings}
    sizes = {round(size * factor) for size in (min(planned), max(planned)) for factor in _FACTORS}
    kept = sorted(planned)[:: math.ceil(len(planned) / MOST_KINDS)]
    return tuple(_other_sizes(question, sorted({*sizes, *kept}), planned))


def _other_sizes(question: Question, sizes: list[int], planned: set[int]) -> Iterator[OtherSize]:
    count = question.num_clients
    for size in sizes:
        if not 1 <= size <= MOST_EXAMPLES:
            continue
        holding = Holding(num_examples=size, delta=_delta_at(question, size), count=count)
        alike = replace(_without_search(question), holdings=(holding,))
        solutions = _solved(alike)
        if solutions:
            yield OtherSize(
                num_examples=size,
                noise_multiplier=solutions[0].noise_multiplier,
                noise_to_signal=contribution(alike, solutions[0]).noise_to_signal,
                average=average_of(alike, solutions),
                planned=size in planned,
            )


def _other_length(asked: Question, other: Question, solutions: list[Solution]) -> OtherRounds:
    average = average_of(other, solutions)
    noisiest = max(solutions, key=lambda solution: contribution(other, solution).noise_to_signal)
    rounds = other.rounds or 1
    return OtherRounds(
        rounds=rounds,
        noise_multiplier=max(solution.noise_multiplier for solution in solutions),
        noise_to_signal=contribution(other, noisiest).noise_to_signal,
        average=average,
        altogether=None if average is None else average / math.sqrt(rounds),
        planned=rounds == asked.rounds,
    )


def _solved(question: Question) -> list[Solution]:
    """Answer for every kind of client, or for none where one cannot be answered for."""
    try:
        return [solve(question, holding) for holding in question.holdings]
    except BudgetExhausted:
        return []


def _without_search(question: Question) -> Question:
    """Where the noise is given, one round tells as much about a step as many, and needs no budget."""
    if question.noise_multiplier is None:
        return question
    return replace(question, epsilon=None, rounds=1)


def _delta_at(question: Question, size: int) -> float:
    """Keep a delta that was set, within its range; let a default one follow the size."""
    same = {holding.delta for holding in question.holdings if not holding.delta_is_large}
    large = [holding.delta for holding in question.holdings if holding.delta_is_large]
    if large:
        return min(*large, 1 / size)
    return min(*same, default_delta(size))
