"""Losses of single examples, as per-record gradients need them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from common.names import require_known

ExampleLoss = Callable[[Tensor, Tensor], Tensor]
"""(outputs float [batch, classes], labels int64 [batch]) -> float [batch]."""


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return each example's cross-entropy, in nats."""
    return functional.cross_entropy(outputs, labels, reduction="none")


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return each example's mean squared distance to the one-hot label, over the classes."""
    targets = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return (outputs - targets).square().mean(dim=1)


LOSSES: dict[str, ExampleLoss] = {"cross-entropy": cross_entropy, "mse": squared_error}


def build_loss(name: str) -> ExampleLoss:
    """Look up a loss.

    Raises:
        ConfigError: the name is not one of `LOSSES`.
    """
    return LOSSES[require_known("loss", name, LOSSES)]
