"""Networks whose records' gradients come apart."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from client.gradients.chain import LayerChain
from client.gradients.per_example import PerExampleModule
from client.gradients.records import RecordGradients


class RecordNetwork(Protocol):
    """Computes outputs, and then the gradients of each record's loss."""

    @property
    def most_at_once(self) -> int | None:
        """Beyond so many records a batch is quicker in parts; None where there is no such number."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the outputs of a batch, from which losses are computed under autograd."""

    def backward(self, losses: Tensor) -> list[RecordGradients]:
        """Return the gradients of every trained parameter, in the model's order, from the losses [b]."""

    def forget_batch(self) -> None:
        """Drop what an exception in the middle of a batch may have left behind."""


def record_network(model: nn.Module) -> RecordNetwork:
    """Return the quickest way to the gradients of a model's records: a chain where it is one, else hooks.

    Args:
        model: nothing in it may mix the records of a batch. It can go on being used itself.

    Raises:
        NotImplementedError: when Opacus cannot give per-record gradients of the model.
    """
    return LayerChain.of(model) or PerExampleModule(model)
