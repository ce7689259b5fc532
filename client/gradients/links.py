"""The layers that a chain knows: forwards, backwards, and the gradients of their own parameters.

No autograd: one call of the library each way, so that a small network's step is arithmetic and little else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from client.gradients.geometry import even_zeros
from client.gradients.layers import layer_gradients
from client.gradients.link import Gradients, Kept, Link, pair
from client.gradients.pooling import largest_of_four
from client.gradients.records import DenseGradients

_aten = torch.ops.aten


class _Linear(Link):
    """A linear layer."""

    is_trained = True

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
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


class _Relu(Link):
    """max(0, x)."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        outputs = torch.relu(inputs)
        return outputs, (outputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        gradient: Tensor = _aten.threshold_backward.default(backprops, kept[0], 0)
        return gradient


class _Tanh(Link):
    """tanh(x)."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        outputs = torch.tanh(inputs)
        return outputs, (outputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        gradient: Tensor = _aten.tanh_backward.default(backprops, kept[0])
        return gradient


class _MaxPool(Link):
    """The largest value of each window."""

    def __init__(self, layer: nn.MaxPool2d) -> None:
        self._windows = tuple(
            list(pair(side)) for side in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        )
        self._ceil_mode = layer.ceil_mode

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        if self._in_squares_of_four and inputs.is_contiguous():
            outputs, places = largest_of_four(inputs)
        else:
            outputs, places = _aten.max_pool2d_with_indices.default(inputs, *self._windows, self._ceil_mode)
        return outputs, (inputs, places)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        inputs, places = kept
        gradient: Tensor = _aten.max_pool2d_with_indices_backward.default(
            backprops, inputs, *self._windows, self._ceil_mode, places
        )
        return gradient

    @property
    def _in_squares_of_four(self) -> bool:
        return self._windows == ([2, 2], [2, 2], [0, 0], [1, 1]) and not self._ceil_mode


class _Flatten(Link):
    """Some of a record's dimensions as one."""

    def __init__(self, layer: nn.Flatten) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        return self._layer(inputs), (inputs.shape,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        return backprops.reshape(kept[0])


class _Free(Link):
    """Any layer without parameters."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_()
            outputs = self._layer(leaf)
        return outputs.detach(), (leaf, outputs)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        leaf, outputs = kept
        return torch.autograd.grad(outputs, leaf, backprops)[0]


_LINKS: dict[type[nn.Module], Callable[[Any], Link]] = {
    nn.Linear: _Linear,
    nn.Conv2d: _Convolution,
    nn.GroupNorm: _GroupNorm,
    nn.ReLU: lambda _: _Relu(),
    nn.Tanh: lambda _: _Tanh(),
    nn.MaxPool2d: _MaxPool,
    nn.Flatten: _Flatten,
}


def link_of(layer: nn.Module) -> Link | None:
    """Return a layer's link, or None where its own parameters need what no link knows."""
    if isinstance(layer, nn.Conv2d) and even_zeros(layer) is None:
        return None
    if isinstance(layer, nn.GroupNorm) and layer.affine and layer.bias is None:
        return None
    if type(layer) in _LINKS:
        return _LINKS[type(layer)](layer)
    return None if list(layer.parameters()) else _Free(layer)
