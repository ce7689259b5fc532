"""The layers that are computed with records side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from client.gradients.geometry import even_zeros
from client.gradients.lanes.layout import LANES, Memory
from client.gradients.lanes.pixels import LanedActivation, LanedMaxPool, is_plain_pool
from client.gradients.lanes.records import LanedGradients
from client.gradients.lanes.walks import Side, Walks, walks_back, walks_forward
from client.gradients.link import Gradients, Kept, Link
from client.kernels import run
from client.kernels.parallel import by_blocks
from client.kernels.structures import Groups


class _Convolution(Link):
    """A two-dimensional convolution with zeros around its images, in one group."""

    is_trained = True

    def __init__(self, layer: nn.Conv2d, memory: Memory) -> None:
        self._layer = layer
        self._memory = memory

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        layer = self._layer
        _refuse_other_channels(inputs, layer.in_channels)
        rows, columns = self._sides(inputs)
        outputs = self._memory.empty(len(inputs), layer.out_channels, rows.results, columns.results, LANES)
        bias = None if layer.bias is None else layer.bias.detach()
        self._correlate(self._walks(walks_forward, inputs), inputs, bias, outputs)
        return outputs, (inputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        (inputs,) = kept
        gradients = self._memory.empty(*inputs.shape)
        self._correlate(self._walks(walks_back, inputs), backprops, None, gradients)
        return gradients

    def _correlate(self, walks: Walks, sources: Tensor, begin: Tensor | None, targets: Tensor) -> None:
        kernels = self._layer.weight.detach().contiguous()

        def some(part: slice) -> None:
            images, results = sources[part], targets[part]
            run(
                "correlate", walks.over(len(images)), walks.walks, walks.taps, images, kernels, begin, results
            )

        by_blocks(some, len(sources), operations=self._operations(sources, targets))

    def _gradients(self, kept: Kept, backprops: Tensor) -> Gradients:
        (inputs,), layer = kept, self._layer
        walks, blocks = self._walks(walks_forward, inputs), len(inputs)
        samples = torch.empty(blocks, layer.weight.numel(), LANES)

        def some(part: slice) -> None:
            images, slopes, gradients = inputs[part], backprops[part], samples[part]
            batch = walks.over(len(images))
            run("kernel_gradients", batch, walks.walks, walks.taps, images, slopes, gradients)

        by_blocks(some, blocks, operations=self._operations(inputs, backprops))
        found: Gradients = {layer.weight: LanedGradients.of_all(samples, layer.weight)}
        if layer.bias is not None:
            sums = torch.empty(blocks, layer.out_channels, LANES)
            run("plane_sums", blocks * layer.out_channels, backprops.shape[2:-1].numel(), backprops, sums)
            found[layer.bias] = LanedGradients.of_all(sums, layer.bias)
        return found

    def _operations(self, sources: Tensor, targets: Tensor) -> int:
        """Return about how many products one block takes, whichever way."""
        pixels = min(sources.shape[2:].numel(), targets.shape[2:].numel())
        return pixels * self._layer.weight.numel()

    def _walks(self, way: Callable[[int, int, Side, Side], Walks], inputs: Tensor) -> Walks:
        return way(self._layer.in_channels, self._layer.out_channels, *self._sides(inputs))

    def _sides(self, inputs: Tensor) -> list[Side]:
        layer, padding = self._layer, even_zeros(self._layer) or (0, 0)
        numbers = zip(
            inputs.shape[2:4], layer.kernel_size, layer.stride, padding, layer.dilation, strict=True
        )
        sides = [Side(size=a, kernel=b, stride=c, padding=d, dilation=e) for a, b, c, d, e in numbers]
        if min(side.results for side in sides) < 1:
            raise RuntimeError(f"images of {list(inputs.shape[2:4])} are smaller than a kernel of {layer}")
        return sides


class _GroupNorm(Link):
    """Groups of channels brought to mean 0 and variance 1, then scaled and shifted channel by channel."""

    def __init__(self, layer: nn.GroupNorm, memory: Memory) -> None:
        self._layer = layer
        self._memory = memory
        self.is_trained = layer.affine

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        _refuse_other_channels(inputs, self._layer.num_channels)
        layer = self._layer
        normed, scales = (
            self._memory.empty(*inputs.shape),
            self._memory.empty(len(inputs), layer.num_groups, LANES),
        )
        outputs = self._memory.empty(*inputs.shape) if layer.affine else normed
        parameters = (layer.weight.detach(), layer.bias.detach()) if layer.affine else (None, None)

        def some(part: slice) -> None:
            results = normed[part], scales[part], outputs[part]
            run("group_norm", self._groups(inputs[part]), inputs[part], *parameters, *results)

        by_blocks(some, len(inputs), operations=3 * inputs.shape[1:].numel())
        return outputs, (normed, scales)

    def back(self, kept: Kept, backprops: Tensor, *, wanted: bool) -> tuple[Tensor, Gradients]:
        (normed, scales), layer = kept, self._layer
        gradients = self._memory.empty(*normed.shape)
        of_weight, of_bias = (torch.empty(*normed.shape[:2], LANES) for _ in range(2))
        weight = layer.weight.detach() if layer.affine else None

        def some(part: slice) -> None:
            known = normed[part], scales[part], weight, backprops[part]
            results = gradients[part], of_weight[part], of_bias[part]
            run("group_norm_back", self._groups(normed[part]), *known, *results)

        by_blocks(some, len(normed), operations=3 * normed.shape[1:].numel())
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


def _refuse_other_channels(images: Tensor, channels: int) -> None:
    """A kernel would read past the end of what has fewer channels than its layer."""
    if images.dim() != 5:
        raise RuntimeError(f"a batch of images has four dimensions, not {images.dim() - 1}")
    if images.shape[1] != channels:
        raise RuntimeError(f"images have {images.shape[1]} channels, and the layer is for {channels}")


def _is_plain_convolution(layer: nn.Conv2d) -> bool:
    zeros = even_zeros(layer)
    return layer.groups == 1 and zeros is not None and min(zeros) >= 0


def _is_plain_norm(layer: nn.GroupNorm) -> bool:
    return not layer.affine or layer.bias is not None


_KINDS: dict[type[nn.Module], tuple[Callable[[Any], bool], Callable[[Any, Memory], Link]]] = {
    nn.Conv2d: (_is_plain_convolution, _Convolution),
    nn.GroupNorm: (_is_plain_norm, _GroupNorm),
    nn.MaxPool2d: (is_plain_pool, LanedMaxPool),
    nn.ReLU: (lambda _: True, lambda _, memory: LanedActivation("rectify", memory)),
    nn.Tanh: (lambda _: True, lambda _, memory: LanedActivation("hyperbolic", memory)),
}


def laned_link(layers: Sequence[nn.Module], memory: Memory) -> tuple[Link, int] | None:
    """Return the link of the first of some layers, or of two computed at once, and how many they are.

    Args:
        layers: that follow one another, at least one.
        memory: for what lasts no longer than a batch.
    """
    first, *rest = layers
    if type(first) is nn.ReLU and rest and type(rest[0]) is nn.MaxPool2d and is_plain_pool(rest[0]):
        return LanedMaxPool(rest[0], memory, rectified=True), 2
    if type(first) not in _KINDS:
        return None
    suits, link = _KINDS[type(first)]
    return (link(first, memory), 1) if suits(first) else None
