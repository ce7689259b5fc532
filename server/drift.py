"""What sets each client's updates apart from all clients', as the server alone computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.arrays import Arrays
from server.aggregation import StreamingMean
from server.state import RunState
from server.strategy import FedAvg

_LARGEST = 1e15
"""Larger values count as this one, so that no later sum overflows."""


@dataclass(frozen=True, kw_only=True)
class DriftCorrection:
    """SCAFFOLD's control variates in one round.

    A client's variate c_i is the mean of its noised gradients when it last trained. It steps by g - c_i + c,
    so that where clients differ their steps still lead one way. The source has clients keep c_i and send
    what changed; both follow from what the server sent and got, so it computes them here, and nothing but
    the update leaves a client. c is weighted as updates are. Source: Karimireddy et al. 2020, "SCAFFOLD:
    Stochastic Controlled Averaging for Federated Learning", Algorithm 1, option II.

    Args:
        variates: c_i by partition; 0 where there is none yet.
        mean: c, over the clients that can still be asked.

    Privacy:
        It is computed from noised updates alone: post-processing, which costs nothing.
    """

    variates: Mapping[int, Arrays]
    mean: Arrays

    @classmethod
    def of(
        cls, variates: Mapping[int, Arrays], weights: Mapping[int, float], like: Arrays
    ) -> DriftCorrection:
        """Average the variates.

        Args:
            variates: c_i by partition.
            weights: of all clients that can be asked, by partition.
            like: the model, for its shapes.
        """
        zeros = {name: np.zeros_like(value) for name, value in like.items()}
        mean = StreamingMean(like)
        for partition_id, weight in sorted(weights.items()):
            mean.add(variates.get(partition_id, zeros), weight)
        return cls(variates=variates, mean=mean.mean())

    def for_client(self, partition_id: int) -> Arrays:
        """Return what a client is to add to its gradients, c - c_i."""
        own = self.variates.get(partition_id)
        return self.mean if own is None else {name: self.mean[name] - own[name] for name in self.mean}

    def after(self, partition_id: int, update: Arrays, reach: float) -> Arrays:
        """Return a client's next variate, c_i - c + (x - y) / (K * rate), from its update y - x.

        Args:
            partition_id: of the client.
            update: finite.
            reach: steps times learning rate, K * rate.
        """
        sent = self.for_client(partition_id)
        variate = {name: -update[name].astype(np.float64) / reach - sent[name] for name in sent}
        return {name: value.clip(-_LARGEST, _LARGEST).astype(np.float32) for name, value in variate.items()}


def drift_of(state: RunState, strategy: FedAvg) -> DriftCorrection | None:
    """Return the correction of the round after a state; None where none is made."""
    if state.variates is None:
        return None
    weights = {number: strategy.weight(state.clients[number].num_examples) for number in state.active}
    return DriftCorrection.of(state.variates, weights, state.arrays)
