"""What a site allows a server to ask for, apart from its budget."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import PolicyRefused
from common.protocol import Proposal

_MOST_ROUNDS = 1_000_000
"""More are not planned by anyone, and finding the noise for them takes for ever."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on every single proposal; whatever lies outside is refused, never adjusted.

    Args:
        least_noise_multiplier: noise over clip, above 0.
        most_steps: steps of one round, at least 1.
        largest_clip: L2 clip of each record's gradient, above 0.
        least_examples: fewest records with which the site takes part.
        releases: purposes for which something may leave, as a ledger's RESERVE names them.
    """

    least_noise_multiplier: float
    most_steps: int
    largest_clip: float
    least_examples: int
    releases: frozenset[str]

    def refuse_release(self, purpose: str, num_examples: int) -> None:
        """Refuse a kind of release that is not permitted, or any from too few records.

        Raises:
            PolicyRefused: says which.
        """
        if purpose not in self.releases:
            known = ", ".join(sorted(self.releases)) or "nothing"
            raise PolicyRefused(f"a release for {purpose!r} is not among those its policy permits ({known})")
        if num_examples < self.least_examples:
            raise PolicyRefused(
                f"it holds {num_examples} examples, below its policy's least of {self.least_examples}"
            )

    def refuse_training(self, proposal: Proposal, num_steps: int) -> None:
        """Refuse training that is longer, or clipped less, than permitted.

        Raises:
            PolicyRefused: names the value and the limit. A value that is not a number is outside any limit.
        """
        if not 1 <= num_steps <= self.most_steps:
            raise PolicyRefused(f"{num_steps} steps a round are above its policy's {self.most_steps}")
        if not 1 <= proposal.planned_rounds <= _MOST_ROUNDS:
            raise PolicyRefused(
                f"{proposal.planned_rounds} planned rounds are outside the permitted 1 to {_MOST_ROUNDS}"
            )
        clip = proposal.max_grad_norm
        if not 0 < clip <= self.largest_clip:
            raise PolicyRefused(f"a clip of {clip:g} is outside its policy's 0 to {self.largest_clip:g}")

    def refuse_noise(self, noise_multiplier: float) -> None:
        """Refuse less noise than permitted.

        Raises:
            PolicyRefused: names both values.
        """
        if not noise_multiplier >= self.least_noise_multiplier:
            raise PolicyRefused(
                f"noise multiplier {noise_multiplier:g} is below its policy's {self.least_noise_multiplier:g}"
            )
