"""A plan's numbers and answer in words, rounded so that privacy never looks better than it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction

from common.audit.claim import CLAIM
from common.audit.wording import budget_text, epsilon_text
from common.planning.plan import GroupPlan, Plan
from common.planning.question import Question
from common.words import counted


def delta_up_text(delta: float) -> str:
    """Write a probability with three significant digits, rounded up, such as 1e-5."""
    rounded = Context(prec=3, rounding=ROUND_CEILING).create_decimal(repr(delta))
    mantissa, _, exponent = f"{rounded:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def rate_text(rate: Fraction) -> str:
    """Write a sample rate with four significant digits, rounded up."""
    context = Context(prec=4, rounding=ROUND_CEILING)
    return f"{context.divide(Decimal(rate.numerator), Decimal(rate.denominator)).normalize():f}"


def noise_text(noise_multiplier: float) -> str:
    """Write a noise multiplier with four decimals, or as many as it has."""
    exact = f"{Decimal(repr(noise_multiplier)):f}"
    whole, _, decimals = exact.partition(".")
    return f"{whole}.{decimals:0<4}"


def rounds_text(group: GroupPlan) -> str:
    """Write a number of rounds, marked where more might be affordable."""
    return f"{group.rounds:,}+" if group.at_least else f"{group.rounds:,}"


def range_text(
    groups: Sequence[GroupPlan], write: Callable[[GroupPlan], str], key: Callable[[GroupPlan], float]
) -> str:
    """Write the value of all groups, or its least and its largest."""
    low, high = min(groups, key=key), max(groups, key=key)
    first, last = write(low), write(high)
    return first if first == last else f"{first} to {last}"


def headline(plan: Plan) -> str:
    """Answer the question in one sentence, without a full stop."""
    question = plan.question
    rounds = counted(question.rounds or 0, f"{_more(plan)}round")
    budget = budget_text(question.epsilon or 0.0)
    noise = range_text(plan.groups, lambda g: noise_text(g.noise_multiplier), lambda g: g.noise_multiplier)
    epsilon = range_text(plan.groups, lambda g: epsilon_text(g.epsilon, 4), lambda g: g.epsilon)
    what = f"{rounds} at noise multiplier {noise}"
    match question.unknown:
        case "noise":
            return f"Keeping to epsilon {budget} over {rounds} needs noise multiplier {noise}"
        case "rounds":
            return f"Epsilon {budget} affords {_affordable(plan)} at noise multiplier {noise}"
        case "epsilon":
            return f"{what} {_verb(question)} epsilon {epsilon}"
        case _ if plan.fits:
            return f"It fits: {what} {_verb(question)} epsilon {epsilon} of {budget}"
        case _:
            limit = " under the ledger's filter" if any(h.filter for h in question.holdings) else ""
            would = f"{what} would take epsilon {epsilon} of {budget}{limit}"
            return f"It does not fit: {would}, which affords {_affordable(plan)}"


CLAIM_TEXT = (
    f"Claim: {CLAIM.unit}; zero-out adjacency, so the number of a client's examples is public; against "
    "everyone who sees every message of every round, the server included."
)


def notes_on_claim(plan: Plan) -> list[str]:
    """State how the epsilons were reached, one note a line."""
    lines = [
        "Asking only some clients in a round counts as no protection: it only means fewer rounds for each.",
        "An epsilon composes all rounds by privacy loss distributions (PLD); those along the way are upper "
        "bounds, at most 0.05 % too high.",
    ]
    if not all(group.exact for group in plan.groups):
        lines.append(
            "Of many kinds of clients, those that spend less than others have such a bound at the end too, "
            "without a cross-check."
        )
    if any(holding.filter for holding in plan.question.holdings):
        lines.append(
            "The ledger's filter is kept to as well. It allows for settings that are changed in view of "
            "earlier results and so may end before epsilon reaches the budget; it guarantees the budget."
        )
    if spent := [group.spent for group in plan.groups if group.spent > 0]:
        lines.append(f"The ledger holds epsilon {epsilon_text(spent[0], 4)} already, which is counted in.")
    return lines


def _affordable(plan: Plan) -> str:
    """Write how many rounds the budget affords, over all kinds of clients."""
    question, groups = plan.question, plan.groups

    def rounds_of(group: GroupPlan) -> int:
        return question.rounds_for(group.affordable or 0)

    most = max(rounds_of(group) for group in groups)
    if most == 0:
        return f"not one {_more(plan)}round"
    noun = "round" if most == 1 else "rounds"
    rounds = range_text(groups, lambda group: f"{rounds_of(group):,}", rounds_of)
    least = "at least " if any(group.at_least for group in groups) else ""
    return f"{least}{rounds} {_more(plan)}{noun}"


def _more(plan: Plan) -> str:
    return "more " if any(group.spent for group in plan.groups) else ""


def _verb(question: Question) -> str:
    return "takes" if question.rounds == 1 else "take"
