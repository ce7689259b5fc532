"""What a client computes in one round, and how its step size falls from round to round."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.config.base import Momentum, PositiveInt, Section
from common.errors import ConfigError


class TrainingSettings(Section):
    """What a client computes in one round."""

    optimizer: Literal["sgd", "adam", "rmsprop"] = Field("sgd", description="Local optimiser.")
    learning_rate: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = Field(
        "auto", description='Local step size; "auto" is one that suits the model, with or without privacy.'
    )
    learning_rate_decay: Literal["off", "linear", "cosine"] = Field(
        "off", description="How the local step size falls over the planned rounds, towards 0 after the last."
    )
    momentum: Momentum = Field(
        0.0, description="Local momentum within a round (sgd, rmsprop); across rounds use server-momentum."
    )
    proximal_mu: Annotated[float, Field(ge=0, le=100)] = Field(
        0.0,
        description="FedProx: so many times the way from the round's model is added to each gradient, after "
        "its noise, which costs no privacy; 0 is off, and a round's first step does not feel it.",
    )
    sample_rate: Annotated[float, Field(ge=1e-6, le=1)] | Literal["off"] = Field(
        0.1, description="Chance q that a record enters a step; the same for every client."
    )
    batch_size: PositiveInt | Literal["off"] = Field(
        "off", description="Instead of sample-rate: expected records a step, so q = batch-size / n."
    )
    local_steps: PositiveInt | Literal["off"] = Field(1, description="Steps a round.")
    local_epochs: PositiveInt | Literal["off"] = Field(
        "off", description="Instead of local-steps: passes a round, so steps = epochs / q, rounded up."
    )
    augmentation_multiplicity: PositiveInt = Field(
        1,
        description="Augmented views of each record in a step; the mean of their gradients is clipped, so "
        "they cost computation and no budget.",
    )
    loss: Literal["cross-entropy", "mse"] = Field("cross-entropy", description="Loss of one example.")

    def sample_rate_for(self, num_examples: int) -> Fraction:
        """Return q exactly: the decimal as written, or batch-size / n (at most 1)."""
        if self.batch_size == "off":
            return Fraction(str(self.sample_rate))
        return min(Fraction(1), Fraction(self.batch_size, num_examples))

    def steps_for(self, sample_rate: Fraction) -> int:
        """Return the steps of one round: as set, or enough for `local-epochs` expected passes."""
        if self.local_steps != "off":
            return self.local_steps
        return math.ceil(Fraction(int(self.local_epochs)) / sample_rate)

    def rate(self, *, auto: float) -> float:
        """Return the local step size; `auto` is the model's own."""
        return auto if self.learning_rate == "auto" else self.learning_rate

    def in_round(self, number: int, num_rounds: int, *, auto: float) -> Self:
        """Return what a round computes, with that round's step size.

        Args:
            number: of the round, from 1 on.
            num_rounds: planned rounds, at least `number`; the rate is whole in the first, never 0.
            auto: the model's own step size.
        """
        if self.learning_rate_decay == "off":
            return self
        left = (num_rounds - number + 1) / num_rounds
        share = left if self.learning_rate_decay == "linear" else math.sin(math.pi / 2 * left) ** 2
        rate = share * self.rate(auto=auto)
        return self.model_copy(update={"learning_rate": rate, "learning_rate_decay": "off"})

    @model_validator(mode="after")
    def _one_of_each_pair(self) -> Self:
        _exactly_one("training.local-steps", self.local_steps, "training.local-epochs", self.local_epochs)
        _exactly_one("training.sample-rate", self.sample_rate, "training.batch-size", self.batch_size)
        if self.optimizer == "adam" and self.momentum:
            raise ConfigError(
                f"training.momentum = {self.momentum} does not apply to adam, which has its own averages: "
                "set it to 0, or choose sgd or rmsprop"
            )
        return self

    @model_validator(mode="after")
    def _pulls_without_overshooting(self) -> Self:
        if self.optimizer != "sgd" or self.learning_rate == "auto":
            return self
        if self.learning_rate * self.proximal_mu >= 2:
            raise ConfigError(
                f"training.learning-rate = {self.learning_rate} times training.proximal-mu = "
                f"{self.proximal_mu} is not below 2, so that steps would lead ever farther from the round's "
                "model: make one of them smaller"
            )
        return self


def _exactly_one(first: str, first_value: object, second: str, second_value: object) -> None:
    if (first_value == "off") == (second_value == "off"):
        both = "both are off" if first_value == "off" else f"{first_value} and {second_value} are both set"
        raise ConfigError(f'set exactly one of {first} and {second}, the other to "off": {both}')
