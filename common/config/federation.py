"""Who takes part in a run, and what the server makes of their updates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from common.config.base import Fraction01, Momentum, PositiveFloat, PositiveInt, Section


class FederationSettings(Section):
    """Who takes part and how updates are averaged."""

    num_server_rounds: PositiveInt = Field(200, description="Rounds of federated averaging.")
    num_clients: PositiveInt = Field(10, description="Clients; each holds one partition of the images.")
    fraction_train: Fraction01 = Field(1.0, description="Share of the clients that train in a round.")
    min_train_clients: PositiveInt = Field(
        2,
        description="The run ends when fewer clients (or all, if fewer exist) can go on, or, where there "
        "is a time limit, answer a round.",
    )
    round_timeout_seconds: PositiveFloat | Literal["off"] = Field(
        "off",
        description="A round goes on without clients that have not answered after so many seconds; "
        '"off" waits for all, as a simulation may. `fedledger run` has 3600 where nothing is set.',
    )
    weighting: Literal["examples", "uniform"] = Field(
        "examples", description="Weigh updates by a client's public number of examples, or all alike."
    )
    server_optimizer: Literal["sgd", "adam", "yogi", "adagrad"] = Field(
        "sgd",
        description="How the averaged update moves the model: sgd adds it (FedAvgM, Hsu et al. 2019), the "
        "others give each weight a step size of its own (FedAdam, FedYogi, FedAdagrad, Reddi et al. 2021).",
    )
    server_learning_rate: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = Field(
        "auto",
        description='Share of the averaged update that the model moves by; "auto" is 1 with sgd. With the '
        'others about how far a weight moves in a round, and "auto" is 0.01.',
    )
    server_momentum: Momentum = Field(
        0.9,
        description="Momentum of the averaged update, kept across rounds; beta1 of adam, yogi and adagrad.",
    )
    server_beta2: Momentum = Field(
        0.99, description="What of the mean square of updates is kept in a round (adam and yogi)."
    )
    server_tau: Annotated[float, Field(ge=1e-9, le=1e3)] = Field(
        1e-3,
        description="Added to the root of the mean square of updates, which also begins at its square (adam, "
        "yogi, adagrad): the larger, the more alike are the step sizes of weights.",
    )
    model_average: Annotated[float, Field(gt=0, lt=1)] | Literal["off"] = Field(
        "off",
        description="Decay of a moving average of the model over rounds, such as 0.9: it is evaluated and "
        "kept in place of the last model, training goes on from the last one, and it costs no privacy.",
    )
    drift_correction: Literal["off", "scaffold"] = Field(
        "off",
        description="scaffold (Karimireddy et al. 2020): what sets a client's earlier updates apart from all "
        "clients' is added to its gradients, after their noise; it costs no privacy, and the server and its "
        "checkpoint as much room as one more model a client.",
    )

    @property
    def server_rate(self) -> float:
        """The server's step size."""
        if self.server_learning_rate != "auto":
            return self.server_learning_rate
        return 1.0 if self.server_optimizer == "sgd" else 0.01

    @property
    def keeps_average(self) -> bool:
        """Whether an average of the model over rounds is kept."""
        return self.model_average != "off"

    @property
    def corrects_drift(self) -> bool:
        """Whether clients' drift is corrected."""
        return self.drift_correction != "off"

    @property
    def time_limit(self) -> float | None:
        """How many seconds the server waits for an answer; None is for ever."""
        return None if self.round_timeout_seconds == "off" else self.round_timeout_seconds
