"""What a planner is asked: who holds how much, and all but one of epsilon, rounds and noise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from common.errors import ConfigError
from common.privacy.budget import PrivacyBudget, check_delta, default_delta
from common.privacy.mechanisms import Mechanism

Unknown = Literal["noise", "rounds", "epsilon", "nothing"]
"""What is asked for; "nothing" asks whether all three fit together."""

MOST_ROUNDS = 1_000_000
MOST_STEPS = 1_000_000
MOST_EXAMPLES = 10**9
MOST_CLIENTS = 100_000
MOST_PARAMETERS = 10**12
MOST_EPSILON = 1_000_000_000
LEAST_SAMPLE_RATE = Fraction(1, 10**6)
LEAST_NOISE, MOST_NOISE = 0.01, 1000.0
DEFAULT_PARAMETERS = 62_006
"""Weights of the model `cnn`."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A Renyi filter, which keeps a ledger's lifetime budget whatever settings are chosen later."""

    budget: PrivacyBudget
    order: float


@dataclass(frozen=True, kw_only=True)
class Holding:
    """The data set of a client, or of several alike.

    Args:
        num_examples: n of each, at least 1.
        delta: of every epsilon of these data sets, in (0, 1/n].
        count: how many clients hold such a data set, at least 1.
        prior: every mechanism already charged to the data set.
        filter: what the data set's ledger enforces beside plain composition; None where its settings are
            fixed for life, and for data sets that have no ledger yet.

    Raises:
        ConfigError: when a value is out of its range.
    """

    num_examples: int
    delta: float
    count: int = 1
    prior: tuple[Mechanism, ...] = ()
    filter: Filter | None = None

    def __post_init__(self) -> None:
        _check_whole("the number of examples", self.num_examples, MOST_EXAMPLES)
        _check_whole("the number of clients", self.count, MOST_CLIENTS)
        check_delta(self.delta, self.num_examples)

    @property
    def delta_is_large(self) -> bool:
        """Whether delta lies above 1/(10 n), as rare cases are usually bounded."""
        return self.delta > 1 / (10 * self.num_examples)


def holdings_of(sizes: Iterable[int], delta: float | None) -> tuple[Holding, ...]:
    """Group clients of equal size, smallest first.

    Args:
        sizes: n of each client.
        delta: the same for all, or None for each client's default.

    Raises:
        ConfigError: when there is none, or a value is out of its range.
    """
    counts: dict[int, int] = {}
    for size in sizes:
        counts[size] = counts.get(size, 0) + 1
    return tuple(
        Holding(num_examples=size, count=counts[size], delta=default_delta(size) if delta is None else delta)
        for size in sorted(counts)
    )


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is known of a planned training.

    Args:
        holdings: the clients, grouped; at least one group.
        epsilon: lifetime budget of each, above 0 and at most 1e9; None if asked for.
        rounds: of the whole training, 1 to 1,000,000; None if asked for.
        noise_multiplier: standard deviation of the noise over the clip, 0.01 to 1000; None if asked for.
        sample_rate: chance that an example is in a step, in (0, 1], exact; or None for `batch_size`.
        batch_size: expected examples of a step, so that the rate is batch_size / n, at most 1; or None.
        steps: of a client in a round, at least 1.
        participation: share of the clients that a round asks, in (0, 1].
        dropout: share of the asked clients that are expected not to answer, in [0, 1).
        num_parameters: weights of the model, d.
        whole_federation: whether `holdings` are all clients; False where the others are not known.

    Raises:
        ConfigError: when a value is out of its range, or too few or too many are given.
    """

    holdings: tuple[Holding, ...]
    epsilon: float | None = None
    rounds: int | None = None
    noise_multiplier: float | None = None
    sample_rate: Fraction | None = None
    batch_size: int | None = None
    steps: int = 1
    participation: Fraction = Fraction(1)
    dropout: float = 0.0
    num_parameters: int = DEFAULT_PARAMETERS
    whole_federation: bool = True

    def __post_init__(self) -> None:
        self._check_unknown()
        self._check_sampling()
        if self.epsilon is not None:
            permitted = f"above 0 and at most {MOST_EPSILON:,}"
            _check_number("epsilon", self.epsilon, 0 < self.epsilon <= MOST_EPSILON, permitted)
        if (sigma := self.noise_multiplier) is not None:
            permitted = f"{LEAST_NOISE:g} to {MOST_NOISE:g}"
            _check_number("noise-multiplier", sigma, LEAST_NOISE <= sigma <= MOST_NOISE, permitted)
        share, lost = self.participation, self.dropout
        _check_number(
            "participation", float(share), 0 < share <= 1, "above 0 and at most 1, where all are asked"
        )
        _check_number("dropout", lost, 0 <= lost < 1, "at least 0, where all answer, and below 1")
        _check_whole("rounds", 1 if self.rounds is None else self.rounds, MOST_ROUNDS)
        _check_whole("steps", self.steps, MOST_STEPS)
        _check_whole("parameters", self.num_parameters, MOST_PARAMETERS)
        _check_whole("the number of clients", self.num_clients, MOST_CLIENTS)

    @property
    def unknown(self) -> Unknown:
        """What is asked for."""
        if self.noise_multiplier is None:
            return "noise"
        if self.rounds is None:
            return "rounds"
        return "epsilon" if self.epsilon is None else "nothing"

    @cached_property
    def num_clients(self) -> int:
        """How many clients hold data."""
        return sum(holding.count for holding in self.holdings)

    @property
    def asked(self) -> int:
        """Clients that a round asks: the share, rounded, and at least one."""
        return max(1, round(float(self.participation) * self.num_clients))

    @property
    def share(self) -> Fraction:
        """Share of the rounds in which a client is asked, on average."""
        return Fraction(self.asked, self.num_clients) if self.whole_federation else self.participation

    @property
    def answering(self) -> float:
        """Clients of a round that are expected to answer; an average takes one at least."""
        return max(1.0, self.asked * (1 - self.dropout))

    def own_rounds(self, rounds: int) -> int:
        """Return in how many of `rounds` a client is asked: the average, rounded up."""
        return math.ceil(rounds * self.share)

    def rounds_for(self, own_rounds: int) -> int:
        """Return the most rounds in which a client is asked at most `own_rounds` times on average."""
        return math.floor(own_rounds / self.share)

    def sample_rate_at(self, num_examples: int) -> Fraction:
        """Return the chance that one of n examples is in a step, exactly."""
        if self.sample_rate is not None:
            return self.sample_rate
        return min(Fraction(1), Fraction(self.batch_size or 1, num_examples))

    def _check_unknown(self) -> None:
        if not self.holdings:
            raise ConfigError("no client is given: say how many examples each holds, such as --examples 6000")
        known = [self.epsilon, self.rounds, self.noise_multiplier]
        if sum(value is None for value in known) > 1:
            raise ConfigError(
                "two of epsilon, rounds and noise-multiplier are needed: add --epsilon to learn how many "
                "rounds it affords, or --rounds to learn what epsilon they take"
            )

    def _check_sampling(self) -> None:
        rate, size = self.sample_rate, self.batch_size
        if (rate is None) == (size is None):
            both = "both are missing" if rate is None else "both are given"
            raise ConfigError(f"{both}: give exactly one of --sample-rate and --batch-size")
        if rate is not None:
            permitted = f"{float(LEAST_SAMPLE_RATE):g} to 1"
            _check_number("sample-rate", float(rate), LEAST_SAMPLE_RATE <= rate <= 1, permitted)
        if size is not None:
            _check_whole("batch-size", size, MOST_EXAMPLES)


def _check_number(name: str, value: float, in_range: bool, permitted: str) -> None:
    if not (math.isfinite(value) and in_range):
        raise ConfigError(f"{name} is {value!r}, permitted is {permitted}")


def _check_whole(name: str, value: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigError(f"{name} is {value!r}, permitted is a whole number from 1 to {most:,}")
