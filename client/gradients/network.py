"""Networks whose records' gradients come apart."""

from __future__ import annotations

from typing import Protocol

import torch
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


class SummingNetwork(Protocol):
    """Computes outputs, and then the gradient of a loss of all records."""

    @property
    def most_at_once(self) -> int | None:
        """Beyond so many records a batch is quicker in parts; None where there is no such number."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the outputs of a batch, from which a loss is computed under autograd."""

    def add_gradients(self, loss: Tensor, totals: list[Tensor]) -> None:
        """Add the loss's gradient to totals, one for every trained parameter, in the model's order."""

    def forget_batch(self) -> None:
        """Drop what an exception in the middle of a batch may have left behind."""


class AutogradNetwork:
    """A network whose gradients are the library's own."""

    most_at_once = None

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        outputs: Tensor = self._model(inputs)
        return outputs

    def add_gradients(self, loss: Tensor, totals: list[Tensor]) -> None:
        """Add the loss's gradient to totals, one for every trained parameter, in the model's order."""
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        for total, gradient in zip(totals, gradients, strict=True):
            if gradient is not None:
                total.add_(gradient)

    def forget_batch(self) -> None:
        """Do nothing: what autograd holds is dropped with the outputs."""


def record_network(model: nn.Module) -> RecordNetwork:
    """Return the quickest way to the gradients of a model's records: a chain where it is one, else hooks.

    Args:
        model: nothing in it may mix the records of a batch. It can go on being used itself.

    Raises:
        NotImplementedError: when Opacus cannot give per-record gradients of the model.
    """
    return LayerChain.of(model) or PerExampleModule(model)


def summing_network(model: nn.Module) -> SummingNetwork:
    """Return the quickest way to a gradient that no record's is told from: a chain where it is one."""
    return LayerChain.of(model) or AutogradNetwork(model)
