"""Gradients of layers in a row, each record's or their sum, without autograd and without hooks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from client import kernels
from client.gradients.lanes import LanedPart
from client.gradients.link import Kept, Link, back_through, sum_back_through
from client.gradients.links import link_of
from client.gradients.matrices import FewVectors
from client.gradients.pooled import PooledConvolution
from client.gradients.records import RecordGradients
from client.gradients.thin import ThinConvolution


class LayerChain:
    """A network whose layers follow one another, each record's gradients computed on the way back.

    The way back is written out: it asks for the gradient of each layer's input and for the records' gradients
    of its parameters, and for nothing else, whose sums over the batch nobody would look at. What hooks, a
    graph and its execution cost beside that is, for small networks, as much as the arithmetic.

    Args:
        links: of the layers, in order.
        parameters: of the network, in its own order, all of them trained and none in two layers.
    """

    def __init__(self, links: list[Link], parameters: list[Tensor]) -> None:
        self._links = links
        self._parameters = parameters
        self._kept: list[Kept] = []
        self._outputs = torch.empty(0)

    @property
    def most_at_once(self) -> int | None:
        """Beyond so many records a batch is quicker in parts; None where there is no such number."""
        first = self._links[0] if self._links else None
        return first.most_at_once if isinstance(first, LanedPart) else None

    @classmethod
    def of(cls, model: nn.Module) -> LayerChain | None:
        """Return a model as a chain, or None where it is not one of known layers, each used once."""
        layers, parameters = _in_row(model), list[Tensor](model.parameters())
        owned = sum(len(list(layer.parameters())) for layer in layers)
        if owned > len(parameters) or not all(parameter.requires_grad for parameter in parameters):
            return None
        with_kernels = kernels.at_hand() and all(map(_suits_kernels, parameters))
        links = _links_of(layers, with_kernels=with_kernels)
        return None if links is None else cls(links, parameters)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the network's outputs, [b, ...], from which losses are computed under autograd."""
        self._kept = []
        for link in self._links:
            inputs, kept = link.forward(inputs)
            self._kept.append(kept)
        self._outputs = inputs.requires_grad_()
        return self._outputs

    def forget_batch(self) -> None:
        """Drop what an exception in the middle of a batch may have left behind."""
        self._kept = []

    def backward(self, losses: Tensor) -> list[RecordGradients]:
        """Return the gradients of every parameter, in the model's order.

        Args:
            losses: of the records, [b], from the outputs of the last forward pass.
        """
        (backprops,) = torch.autograd.grad(losses.sum(), self._outputs)
        with torch.no_grad():
            _, gradients = back_through(self._links, self._kept, backprops, wanted=False)
        return [gradients[parameter] for parameter in self._parameters]

    def add_gradients(self, loss: Tensor, totals: list[Tensor]) -> None:
        """Add a loss's gradient, which no record's is told from, to those of the parameters.

        Args:
            loss: a number, from the outputs of the last forward pass.
            totals: by parameter, in the model's order and of its shape.
        """
        (backprops,) = torch.autograd.grad(loss, self._outputs)
        with torch.no_grad():
            by_parameter = dict(zip(self._parameters, totals, strict=True))
            sum_back_through(self._links, self._kept, backprops, by_parameter)


def _links_of(layers: list[nn.Module], *, with_kernels: bool) -> list[Link] | None:
    """Return the links of layers in a row.

    Kernels take the first layers as one part with records side by side; or, where that is less work, what is
    pooled at once.
    """
    links, taken = list[Link](), 0
    if with_kernels and not any(PooledConvolution.of(layers[number:]) for number in range(len(layers))):
        part, taken = LanedPart.of(layers)
        links = [part] if part else []
    while taken < len(layers):
        link, several = _next_of(layers[taken:], with_kernels=with_kernels, is_first=not taken)
        if link is None:
            return None
        links.append(link)
        taken += several
    return links


def _next_of(layers: list[nn.Module], *, with_kernels: bool, is_first: bool) -> tuple[Link | None, int]:
    """Return the link of the next layers, and how many it is of."""
    if with_kernels:
        if is_first and (thin := ThinConvolution.of(layers)):
            return thin, 2
        if pooled := PooledConvolution.of(layers):
            return pooled, 3
        if few := FewVectors.of(layers[0]):
            return few, 1
    return link_of(layers[0]), 1


def _suits_kernels(parameter: Tensor) -> bool:
    return parameter.device.type == "cpu" and parameter.dtype == torch.float32


def _in_row(model: nn.Module) -> list[nn.Module]:
    """Return the layers that a model applies one after another."""
    if type(model) is not nn.Sequential:
        return [model]
    return [layer for child in model for layer in _in_row(child)]
