"""The layers that are computed with records side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from client.gradients.geometry import even_zeros
from client.gradients.lanes.layout import LANES, Memory
from client.gradients.lanes.records import LanedGradients
from client.gradients.lanes.walks import Side, Walks, walks_back, walks_forward
from client.gradients.links import Gradients, Kept, Link, pair
from client.kernels import run
from client.kernels.structures import Groups, Windows


class _Convolution(Link):
    """A two-dimensional convolution with zeros around its images, in one group."""

    is_trained = True

    def __init__(self, layer: nn.Conv2d, memory: Memory) -> None:
        self._layer = layer
        self._memory = memory

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        _refuse_other_channels(inputs, self._layer.in_channels)
        rows, columns = self._sides(inputs)
        outputs = self._memory.empty(
            len(inputs), self._layer.out_channels, rows.results, columns.results, LANES
        )
        walks = self._walks(walks_forward, inputs)
        bias = None if self._layer.bias is None else self._layer.bias.detach()
        kernels = self._layer.weight.detach().contiguous()
        batch = walks.over(len(inputs))
        run("correlate", batch, walks.walks, walks.taps, inputs, kernels, bias, outputs)
        return outputs, (inputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        (inputs,) = kept
        gradients = self._memory.empty(*inputs.shape)
        walks = self._walks(walks_back, inputs)
        kernels = self._layer.weight.detach().contiguous()
        batch = walks.over(len(inputs))
        run("correlate", batch, walks.walks, walks.taps, backprops, kernels, None, gradients)
        return gradients

    def _gradients(self, kept: Kept, backprops: Tensor) -> Gradients:
        (inputs,), layer = kept, self._layer
        walks, blocks = self._walks(walks_forward, inputs), len(inputs)
        samples = torch.empty(blocks, layer.weight.numel(), LANES)
        run(
            *("kernel_gradients", walks.over(blocks), walks.walks, walks.taps),
            *(inputs, backprops, samples),
        )
        found: Gradients = {layer.weight: LanedGradients.of_all(samples, layer.weight)}
        if layer.bias is not None:
            sums = torch.empty(blocks, layer.out_channels, LANES)
            run("plane_sums", blocks * layer.out_channels, backprops[0, 0].numel() // LANES, backprops, sums)
            found[layer.bias] = LanedGradients.of_all(sums, layer.bias)
        return found

    def _walks(self, way: Callable[[int, int, Side, Side], Walks], inputs: Tensor) -> Walks:
        return way(self._layer.in_channels, self._layer.out_channels, *self._sides(inputs))

    def _sides(self, inputs: Tensor) -> list[Side]:
        layer, padding = self._layer, even_zeros(self._layer) or (0, 0)
        numbers = zip(
            inputs.shape[2:4], layer.kernel_size, layer.stride, padding, layer.dilation, strict=True
        )
        return [Side(size=a, kernel=b, stride=c, padding=d, dilation=e) for a, b, c, d, e in numbers]


class _MaxPool(Link):
    """The largest value of each window, or zero where it is less and a ReLU was before, or is behind."""

    def __init__(self, layer: nn.MaxPool2d, memory: Memory, *, rectified: bool = False) -> None:
        self._window, self._apart = pair(layer.kernel_size), pair(layer.stride)
        self._rectified = rectified
        self._memory = memory

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        windows = self._windows(inputs)
        outputs = self._memory.empty(*inputs.shape[:2], windows.result_height, windows.result_width, LANES)
        run("largest", windows, inputs, outputs)
        return outputs, (inputs, outputs)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        inputs, outputs = kept
        gradients = self._memory.empty(*inputs.shape)
        run("largest_back", self._windows(inputs), inputs, outputs, backprops, gradients)
        return gradients

    def _windows(self, inputs: Tensor) -> Windows:
        blocks, channels, height, width, _ = inputs.shape
        sides = zip((height, width), self._window, self._apart, strict=True)
        results = [(size - window) // apart + 1 for size, window, apart in sides]
        return Windows(
            blocks * channels, height, width, *self._window, *self._apart, *results, self._rectified
        )


class _GroupNorm(Link):
    """Groups of channels brought to mean 0 and variance 1, then scaled and shifted channel by channel."""

    def __init__(self, layer: nn.GroupNorm, memory: Memory) -> None:
        self._layer = layer
        self._memory = memory
        self.is_trained = layer.affine

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        _refuse_other_channels(inputs, self._layer.num_channels)
        groups, layer = self._groups(inputs), self._layer
        normed, scales = self._memory.empty(*inputs.shape), self._memory.empty(groups.groups, LANES)
        outputs = self._memory.empty(*inputs.shape) if layer.affine else normed
        parameters = (layer.weight.detach(), layer.bias.detach()) if layer.affine else (None, None)
        run("group_norm", groups, inputs, *parameters, normed, scales, outputs)
        return outputs, (normed, scales)

    def back(self, kept: Kept, backprops: Tensor, *, wanted: bool) -> tuple[Tensor, Gradients]:
        (normed, scales), layer = kept, self._layer
        gradients = self._memory.empty(*normed.shape)
        of_weight, of_bias = (torch.empty(*normed.shape[:2], LANES) for _ in range(2))
        weight = layer.weight.detach() if layer.affine else None
        run(
            *("group_norm_back", self._groups(normed), normed, scales, weight, backprops),
            *(gradients, of_weight, of_bias),
        )
        if weight is None:
            return gradients, {}
        return gradients, {
            layer.weight: LanedGradients.of_all(of_weight, layer.weight),
            layer.bias: LanedGradients.of_all(of_bias, layer.bias),
        }

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        return self.back(kept, backprops, wanted=True)[0]

    def _groups(self, inputs: Tensor) -> Groups:
        layer, (blocks, _, height, width, _) = self._layer, inputs.shape
        channels = layer.num_channels // layer.num_groups
        return Groups(blocks * layer.num_groups, layer.num_groups, channels, height * width, layer.eps)


class _Relu(Link):
    """max(0, x)."""

    def __init__(self, _: nn.ReLU, memory: Memory) -> None:
        self._memory = memory

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        outputs = torch.clamp_min(inputs, 0.0, out=self._memory.empty(*inputs.shape))
        return outputs, (outputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        return backprops.mul_(kept[0] > 0)


class _Tanh(Link):
    """tanh(x)."""

    def __init__(self, _: nn.Tanh, memory: Memory) -> None:
        self._memory = memory

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        outputs = torch.tanh(inputs, out=self._memory.empty(*inputs.shape))
        return outputs, (outputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        gradient = self._memory.empty(*backprops.shape)
        back: Tensor = torch.ops.aten.tanh_backward.grad_input(backprops, kept[0], grad_input=gradient)
        return back


def _refuse_other_channels(images: Tensor, channels: int) -> None:
    """A kernel would read past the end of what has fewer channels than its layer."""
    if images.shape[1] != channels:
        raise RuntimeError(f"images have {images.shape[1]} channels, and the layer is for {channels}")


def _is_plain_convolution(layer: nn.Conv2d) -> bool:
    return layer.groups == 1 and even_zeros(layer) is not None


def _is_plain_pool(layer: nn.MaxPool2d) -> bool:
    bare = (pair(layer.padding), pair(layer.dilation)) == ((0, 0), (1, 1))
    return bare and not layer.ceil_mode and not layer.return_indices


_KINDS: dict[type[nn.Module], tuple[Callable[[Any], bool], Callable[[Any, Memory], Link]]] = {
    nn.Conv2d: (_is_plain_convolution, _Convolution),
    nn.GroupNorm: (lambda _: True, _GroupNorm),
    nn.MaxPool2d: (_is_plain_pool, _MaxPool),
    nn.ReLU: (lambda _: True, _Relu),
    nn.Tanh: (lambda _: True, _Tanh),
}


def laned_link(layers: Sequence[nn.Module], memory: Memory) -> tuple[Link, int] | None:
    """Return the link of the first of some layers, or of two computed at once, and how many they are.

    Args:
        layers: that follow one another, at least one.
        memory: for what lasts no longer than a batch.
    """
    first, *rest = layers
    if type(first) is nn.ReLU and rest and type(rest[0]) is nn.MaxPool2d and _is_plain_pool(rest[0]):
        return _MaxPool(rest[0], memory, rectified=True), 2
    suits, link = _KINDS.get(type(first), (lambda _: False, _Relu))
    return (link(first, memory), 1) if suits(first) else None
