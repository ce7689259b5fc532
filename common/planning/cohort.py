"""What the clients of a federation bring to the average of a round."""

from __future__ import annotations

from collections.abc import Sequence

from common.planning.noise import Contribution, averaged_noise_to_signal, burdens, noise_to_signal
from common.planning.question import Question
from common.planning.solving import Solution


def contribution(question: Question, solution: Solution) -> Contribution:
    """Return what clients of one kind bring to an average."""
    return Contribution(
        count=solution.holding.count,
        num_examples=solution.holding.num_examples,
        noise_to_signal=noise_to_signal(
            noise_multiplier=solution.noise_multiplier,
            num_parameters=question.num_parameters,
            num_examples=solution.holding.num_examples,
            sample_rate=solution.sample_rate,
        ),
    )


def average_of(question: Question, solutions: Sequence[Solution]) -> float | None:
    """Return the noise-to-signal of an averaged update over those that can afford a round.

    Returns:
        None where the other clients are not known, or none can afford a round.
    """
    parts = _taking_part(question, solutions)
    if not parts or not question.whole_federation:
        return None
    taking_part = sum(part.count for part in parts)
    answering = max(1.0, question.answering * taking_part / question.num_clients)
    return averaged_noise_to_signal(parts, answering=answering, steps=question.steps)


def burdensome(question: Question, solutions: Sequence[Solution]) -> frozenset[Contribution]:
    """Return the kinds of clients without any one of which an average over all would be less noisy."""
    return frozenset(burdens(_taking_part(question, solutions)) if question.whole_federation else ())


def _taking_part(question: Question, solutions: Sequence[Solution]) -> list[Contribution]:
    return [contribution(question, solution) for solution in solutions if solution.own_rounds > 0]
