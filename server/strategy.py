"""Federated averaging: who is asked, what is proposed, how updates become the next model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.arrays import Arrays
from common.config import RunConfig
from common.models import spec_of
from common.protocol import Proposal
from server.averaging import averaged
from server.optimizers import Moments, stepped

_COHORT_STREAM = 0xC0407


@dataclass(frozen=True)
class FedAvg:
    """FedAvg, with an optimiser of the server's that moves the model by the averaged update.

    Source: McMahan et al. 2017 (Algorithm 1). What the optimiser does is post-processing of noised updates
    and so costs no privacy.
    """

    config: RunConfig
    partitions: tuple[int, ...]

    @cached_property
    def _planned(self) -> dict[int, int]:
        counts = dict.fromkeys(self.partitions, 0)
        for number in range(1, self.config.federation.num_server_rounds + 1):
            for partition_id in self.cohort(number):
                counts[partition_id] += 1
        return counts

    @cached_property
    def _auto_rate(self) -> float:
        """The learning rate that suits the model."""
        privacy = self.config.privacy
        return spec_of(self.config.model).auto_rates.rate(privacy.max_grad_norm if privacy.enabled else None)

    def cohort(self, number: int) -> list[int]:
        """Return the partitions that the plan asks in a round, ascending.

        It depends on the public seed and on who joined, not on earlier rounds, so each client's number of
        rounds is known before the first one and its noise can be calibrated to exactly that.
        """
        fraction = self.config.federation.fraction_train
        size = max(1, round(fraction * len(self.partitions)))
        if size == len(self.partitions):
            return list(self.partitions)
        generator = np.random.default_rng([_COHORT_STREAM, self.config.runtime.seed, number])
        return sorted(int(p) for p in generator.choice(self.partitions, size=size, replace=False))

    def proposal(self, partition_id: int, number: int = 1) -> Proposal:
        """Return what one client is asked to compute in a round; only the rate differs between rounds."""
        privacy = self.config.privacy
        fixed = None if privacy.noise_multiplier == "auto" else privacy.noise_multiplier
        target = None if privacy.target_epsilon == "auto" else privacy.target_epsilon
        return Proposal(
            training=self.config.training.in_round(
                number, self.config.federation.num_server_rounds, auto=self._auto_rate
            ),
            private=privacy.enabled,
            max_grad_norm=privacy.max_grad_norm,
            noise_multiplier=fixed,
            target_epsilon=target,
            planned_rounds=self._planned[partition_id],
        )

    def reach(self, proposal: Proposal, num_examples: int) -> float:
        """Return the steps of a client's round times their size."""
        training = proposal.training
        return training.steps_for(training.sample_rate_for(num_examples)) * training.rate(
            auto=self._auto_rate
        )

    def weight(self, num_examples: int) -> float:
        """Return a client's weight in the average; it depends on public numbers only."""
        return float(num_examples) if self.config.federation.weighting == "examples" else 1.0

    def next_model(self, arrays: Arrays, moments: Moments, update: Arrays) -> tuple[Arrays, Moments]:
        """Return the next model, and what the server's optimiser then remembers."""
        return stepped(self.config.federation, arrays, moments, update)

    def next_average(self, average: Arrays | None, arrays: Arrays, number: int) -> Arrays | None:
        """Return the average of the model after a round that moved it; None where none is kept."""
        decay = self.config.federation.model_average
        if average is None or decay == "off":
            return None
        return averaged(average, arrays, number=number, decay=decay)
