"""What a plan means for learning, and what is wrong with it, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, Context

from common.planning.plan import GroupPlan, Plan
from common.planning.question import Question
from common.words import counted

LITTLE, MUCH = 0.25, 1.0
"""Noise-to-signal of an averaged update up to which the noise is little, and above which it is most of it.

Chosen by two measured trainings, which their plans put at 0.18 and 0.48 (docs/accuracy.md):
the first came within three points of a training without noise (of other settings), the second stayed far
below it. They are two points, not a law.
"""

MEASURED = (
    "Two trainings measured on CIFAR-10 with the default model and settings: at 0.18 (epsilon 8) 51 % "
    "accuracy, at 0.48 (epsilon 2) 31 %; without noise, in other settings, 53 %."
)

_MOST_SIZES = 4


def meaning(plan: Plan) -> str:
    """Say in one sentence what the noise means for learning."""
    if not any(group.own_rounds for group in plan.groups):
        return "No client can afford a single round, so nothing can be learnt."
    if plan.average is None:
        ratio = ratio_text(plan.typical.noise_to_signal)
        return (
            f"In one step of this client the noise is {ratio} times as long as the longest possible signal; "
            "averaging with others alike, k in all, divides that by the square root of k."
        )
    ratio = ratio_text(plan.average)
    share = f"In an averaged update the noise is {ratio} times as long as the longest possible signal"
    if plan.average <= LITTLE:
        return f"{share}: little, so expect learning close to that without noise."
    if plan.average <= MUCH:
        return f"{share}: clearly felt, so expect slower learning and a less accurate model."
    return f"{share}: the noise drowns the signal, so expect to learn little."


def cautions(plan: Plan) -> tuple[str, ...]:
    """List what a careful reader would object to, worst first."""
    return tuple(_cautions(plan))


def cohort_text(question: Question) -> str:
    """Say how many clients an averaged update is made of."""
    asked = counted(question.asked, "client")
    if not question.dropout:
        return f"A round asks {asked}."
    return f"A round asks {asked}, of which {question.answering:.4g} are expected to answer."


def ratio_text(ratio: float) -> str:
    """Write a noise-to-signal with two significant digits, rounded up."""
    rounded = Context(prec=2, rounding=ROUND_CEILING).create_decimal(repr(ratio))
    return f"{rounded:,f}" if 1e-6 < rounded < 1e9 else f"{rounded:.1e}"


def _cautions(plan: Plan) -> Iterator[str]:
    yield from _about_budgets(plan)
    yield from _about_sizes(plan.groups)
    yield from _about_rounds(plan)
    if plan.question.dropout:
        yield (
            "A client that is asked and does not answer is charged all the same: dropping out saves no "
            "budget and makes the average noisier."
        )


def _about_budgets(plan: Plan) -> Iterator[str]:
    if poor := [group for group in plan.groups if group.own_rounds == 0]:
        yield f"{_who(poor)} cannot afford a single round and will be left out."
    if beyond := [group for group in plan.groups if group.own_rounds and not group.fits]:
        least = min(plan.question.rounds_for(group.affordable or 0) for group in beyond)
        after = counted(least, "round")
        yield f"{_who(beyond)}: the budget ends before the plan does, at the earliest after {after}."


def _about_sizes(groups: Sequence[GroupPlan]) -> Iterator[str]:
    if empty := [group for group in groups if group.expected_batch < 1]:
        yield f"{_who(empty)}: a step holds less than one example on average, so most steps are noise only."
    if burdens := [group for group in groups if group.burden]:
        yield (
            f"{_who(burdens)}: too small to help. Without any one of them the averaged update would be less "
            "noisy; they help only if they hold what no other client has."
        )
    if large := [group for group in groups if group.delta_is_large]:
        yield (
            f"{_who(large)}: delta is above 1/(10 n), so in the worst case more than one in ten data sets of "
            "this size gives a whole record away; leave out --delta for a safer one."
        )
    if whole := [group for group in groups if group.sample_rate == 1]:
        yield f"{_who(whole)}: every example is in every step, so random batches give no extra protection."


def _about_rounds(plan: Plan) -> Iterator[str]:
    question = plan.question
    if question.whole_federation and question.share != question.participation:
        yield (
            f"Of {counted(question.num_clients, 'client')}, a share of {float(question.participation):g} "
            f"means {question.asked} a round."
        )
    if question.whole_federation and question.answering < 2 and question.num_clients > 1:
        yield "Fewer than two clients are expected to answer in a round, so an update stands almost alone."
    rounds, share = plan.typical.rounds, float(question.share)
    if share < 1 and rounds:
        spread = 2 * math.sqrt(rounds * share * (1 - share))
        most = min(rounds, math.ceil(rounds * share + spread))
        then = (
            "has its noise calibrated to its own number"
            if question.unknown == "noise"
            else "pays for its own"
        )
        yield (
            "The rounds in which a client is asked are drawn at random: most clients are asked in at most "
            f"{most:,} of {rounds:,}, and each {then}."
        )


def _who(groups: Sequence[GroupPlan]) -> str:
    """Name clients by their sizes, or say how many they are and between which sizes."""
    count = sum(group.count for group in groups)
    sizes = [f"{group.num_examples:,}" for group in groups]
    if len(sizes) > _MOST_SIZES:
        return f"{counted(count, 'client')} with {sizes[0]} to {sizes[-1]} examples"
    listed = sizes[0] if len(sizes) == 1 else f"{', '.join(sizes[:-1])} and {sizes[-1]}"
    noun = "example" if listed == "1" else "examples"
    return f"{'The client' if count == 1 else 'Clients'} with {listed} {noun}"
