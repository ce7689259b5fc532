"""The layers that a chain knows: forwards, backwards, and the gradients of their own parameters.

No autograd: one call of the library each way, so that a small network's step is arithmetic and little else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from client.gradients.bare import Dropout, Flatten, Free, MaxPool, Relu, Tanh
from client.gradients.geometry import even_zeros
from client.gradients.layers import layer_gradients
from client.gradients.link import Gradients, Kept, Link, Totals
from client.gradients.records import DenseGradients

_aten = torch.ops.aten


class Linear(Link):
    """A linear layer."""

    is_trained = True

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the outputs, [b, ...], and what `back` needs."""
        return self._layer(inputs), (inputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        return backprops @ self._layer.weight

    def _gradients(self, kept: Kept, backprops: Tensor) -> Gradients:
        return layer_gradients(self._layer, list(kept), backprops)


class _Convolution(Link):
    """A two-dimensional convolution with zeros around its images."""

    is_trained = True

    def __init__(self, layer: nn.Conv2d) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        return self._layer(inputs), (inputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        layer, (inputs,) = self._layer, kept
        placed = layer.stride, even_zeros(layer), layer.dilation
        gradients: tuple[Tensor, ...] = _aten.convolution_backward.default(
            *(backprops, inputs, layer.weight, None, *placed),
            *(False, [0, 0], layer.groups, [True, False, False]),
        )
        return gradients[0]

    def _gradients(self, kept: Kept, backprops: Tensor) -> Gradients:
        return layer_gradients(self._layer, list(kept), backprops)

    def back_summed(self, kept: Kept, backprops: Tensor, totals: Totals, *, wanted: bool) -> Tensor:
        layer, (inputs,) = self._layer, kept
        of_inputs, of_weight, of_bias = _aten.convolution_backward.default(
            *(backprops, inputs, layer.weight, [layer.out_channels]),
            *(layer.stride, even_zeros(layer), layer.dilation, False, [0, 0], layer.groups),
            [wanted, True, layer.bias is not None],
        )
        totals[layer.weight].add_(of_weight)
        if layer.bias is not None:
            totals[layer.bias].add_(of_bias)
        return of_inputs if wanted else backprops


class _GroupNorm(Link):
    """Groups of channels brought to mean 0 and variance 1, then scaled and shifted channel by channel."""

    def __init__(self, layer: nn.GroupNorm) -> None:
        self._layer = layer
        self.is_trained = layer.affine

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        layer = self._layer
        normed, mean, scale = torch.native_group_norm(
            inputs, None, None, *self._sizes(inputs), layer.num_groups, layer.eps
        )
        kept = (inputs, mean, scale, normed)
        if not layer.affine:
            return normed, kept
        shift, factor = (_by_channel(each, inputs) for each in (layer.bias, layer.weight))
        return torch.addcmul(shift, normed, factor), kept

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        layer, (inputs, mean, scale, _) = self._layer, kept
        if layer.affine:
            backprops = backprops * _by_channel(layer.weight, inputs)
        wanted = [True, False, False]
        gradients: tuple[Tensor, ...] = _aten.native_group_norm_backward.default(
            backprops, inputs, mean, scale, None, *self._sizes(inputs), layer.num_groups, wanted
        )
        return gradients[0]

    def _gradients(self, kept: Kept, backprops: Tensor) -> Gradients:
        normed = kept[3]
        return {
            self._layer.weight: DenseGradients(samples=_sum_pixels(backprops * normed)),
            self._layer.bias: DenseGradients(samples=_sum_pixels(backprops)),
        }

    @staticmethod
    def _sizes(inputs: Tensor) -> tuple[int, int, int]:
        records, channels = inputs.shape[:2]
        return records, channels, inputs[0, 0].numel()


def _by_channel(parameter: Tensor, images: Tensor) -> Tensor:
    return parameter.view(-1, *[1] * (images.dim() - 2))


def _sum_pixels(images: Tensor) -> Tensor:
    return images.sum(dim=list(range(2, images.dim()))) if images.dim() > 2 else images


_LINKS: dict[type[nn.Module], Callable[[Any], Link]] = {
    nn.Linear: Linear,
    nn.Conv2d: _Convolution,
    nn.GroupNorm: _GroupNorm,
    nn.ReLU: lambda _: Relu(),
    nn.Tanh: lambda _: Tanh(),
    nn.MaxPool2d: MaxPool,
    nn.Dropout: Dropout,
    nn.Flatten: Flatten,
}


def link_of(layer: nn.Module) -> Link | None:
    """Return a layer's link, or None where its own parameters need what no link knows."""
    if isinstance(layer, nn.Conv2d) and even_zeros(layer) is None:
        return None
    if isinstance(layer, nn.GroupNorm) and layer.affine and layer.bias is None:
        return None
    if type(layer) in _LINKS:
        return _LINKS[type(layer)](layer)
    return None if list(layer.parameters()) else Free(layer)
