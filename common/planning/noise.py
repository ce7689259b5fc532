"""How large the noise is beside what can be learnt from it.

The noise of a step is a vector of d independent normal values, so its norm is close to sigma C sqrt(d),
divided by the expected batch n q. The clipped gradients of a batch average to a vector of norm at most C.
Their ratio needs no data and no clip: it bounds the true signal-to-noise from its better side, since
gradients that disagree cancel each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What clients of one kind bring to an average: their number, n, and their noise-to-signal of a step."""

    count: int
    num_examples: int
    noise_to_signal: float


def noise_to_signal(
    *, noise_multiplier: float, num_parameters: int, num_examples: int, sample_rate: Fraction
) -> float:
    """Return the expected norm of a step's noise over the largest norm of its signal.

    Source: Abadi et al. 2016, Algorithm 1, whose sum is divided here by the expected batch n q:
    sigma sqrt(d) / (n q).
    """
    return noise_multiplier * math.sqrt(num_parameters) / (num_examples * float(sample_rate))


def averaged_noise_to_signal(contributions: Iterable[Contribution], *, answering: float, steps: int) -> float:
    """Return the same ratio for an update averaged over a round's clients, weighted by n.

    Independent noise adds up by its squares while signals add up as they are, and a round of several steps
    sums both. For a cohort drawn at random, the expected squared noise is held against the square of the
    expected weight: sqrt(K / (a s) * sum(n^2 r^2)) / sum(n) over all K clients, a of which answer.

    Args:
        contributions: all clients of the federation, at least one.
        answering: expected number of clients of a round whose update arrives, at least 1.
        steps: of a client in a round.
    """
    parts = list(contributions)
    clients = sum(part.count for part in parts)
    examples = sum(part.count * part.num_examples for part in parts)
    noise = sum(part.count * (part.num_examples * part.noise_to_signal) ** 2 for part in parts)
    return math.sqrt(clients / (answering * steps) * noise) / examples


def burdens(contributions: Iterable[Contribution]) -> tuple[Contribution, ...]:
    """Return the clients without any one of which the average over all would be less noisy.

    With noise variance V and examples N of all, a client with v and n is one when
    (V - v) / (N - n)^2 < V / N^2. Where all rates and noises are equal, that is whoever holds less than
    about half of what the others hold on average.
    """
    parts = list(contributions)
    total = sum(part.count * part.num_examples for part in parts)
    noise = sum(part.count * (part.num_examples * part.noise_to_signal) ** 2 for part in parts)

    def lightens(part: Contribution) -> bool:
        rest = total - part.num_examples
        without = max(noise - (part.num_examples * part.noise_to_signal) ** 2, 0.0)
        return rest > 0 and without * total**2 < noise * rest**2 * (1 - 1e-9)

    return tuple(part for part in parts if lightens(part))
