"""Convolutions whose results are pooled at once: most of their gradients are zero, and cost nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from client import kernels
from client.gradients.geometry import channels_first, channels_last, cropped, is_simple, padded
from client.gradients.link import TOGETHER, Gradients, Kept, Link, Totals, pair
from client.gradients.records import DenseGradients
from client.kernels.parallel import by_blocks
from client.kernels.structures import Pooled

_CHANNELS = 16
"""The widest vectors: images have a multiple of so many channels, and results too."""
_BAND = 2
"""Rows of pooled results at a time: what they meet of an image is near the processor."""
_FOUR = 4
_POINTS, _TILES = 36, 12
"""Of winograd.c: points at which kernels are evaluated, and tiles of images that are computed at a time."""

_Own = list[tuple[Tensor, Tensor]]
"""Parameters and their gradients, [blocks of records, ...]."""


class PooledConvolution(Link):
    """A convolution, max(0, x), and the largest of every 2 x 2.

    Three of four results have no gradient, nor have those below zero. What is left is multiplied with what it
    meets, one number at a time, where the library would multiply with all the zeros.

    Args:
        layer: the convolution, one that `of` takes.
    """

    is_trained = True

    def __init__(self, layer: nn.Conv2d) -> None:
        self._layer = layer

    @classmethod
    def of(cls, layers: Sequence[nn.Module]) -> PooledConvolution | None:
        """Return the link for the first three layers, or None where they are not of this kind."""
        if len(layers) < 3:
            return None
        convolution, activation, pooling = layers[:3]
        if type(activation) is not nn.ReLU or type(pooling) is not nn.MaxPool2d or not _is_of_four(pooling):
            return None
        return cls(convolution) if type(convolution) is nn.Conv2d and _suits(convolution) else None

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the largest results, [b, O, H' / 2, W' / 2], and what `back` needs.

        Raises:
            ValueError: when the images are not of the layer's channels, or too small.
        """
        layer = self._layer
        images = channels_last(padded(inputs, layer))
        records, height, width, outputs = results = self._results(images)
        if min(height, width) < 2:
            raise ValueError(f"images of size {[*inputs.shape]} are too small to be pooled after {layer}")
        pooled = images.new_empty(records, height // 2, width // 2, outputs)
        which = torch.empty_like(pooled, dtype=torch.int32)
        pool = self._by_fewer_products if _is_three_by_three(layer) else self._by_library
        pool(images, results, pooled, which)
        return channels_first(pooled), (images, which, results)

    def _by_fewer_products(self, images: Tensor, results: torch.Size, pooled: Tensor, which: Tensor) -> None:
        layer = self._layer
        kernel = layer.weight.detach().permute(2, 3, 1, 0).contiguous()
        points = kernel.new_empty(_POINTS, *kernel.shape[2:])
        kernels.run("winograd_kernels", kernel[0, 0].numel(), kernel, points)
        bias = None if layer.bias is None else layer.bias.detach()

        def some(part: slice) -> None:
            room = kernel.new_empty(_POINTS * _TILES * sum(kernel.shape[2:]))
            shape = self._shape(images[part], results)
            kernels.run("winograd_pooled", shape, images[part], points, bias, pooled[part], which[part], room)

        by_blocks(some, len(images), operations=results[1:].numel() * layer.in_channels)

    def _by_library(self, images: Tensor, results: torch.Size, pooled: Tensor, which: Tensor) -> None:
        layer = self._layer
        found = channels_last(
            functional.conv2d(channels_first(images), layer.weight, layer.bias, stride=layer.stride)
        )

        def some(part: slice) -> None:
            kernels.run(
                "pool_of_four", self._shape(images[part], results), found[part], pooled[part], which[part]
            )

        by_blocks(some, len(images), operations=results[1:].numel())

    def back(self, kept: Kept, backprops: Tensor, *, wanted: bool) -> tuple[Tensor, Gradients]:
        """Return the gradients of the inputs, if they are wanted, and of the parameters."""
        of_inputs, of_own = self._meet(kept, backprops, wanted=wanted, together=1)
        return of_inputs, {parameter: DenseGradients(samples=samples) for parameter, samples in of_own}

    def back_summed(self, kept: Kept, backprops: Tensor, totals: Totals, *, wanted: bool) -> Tensor:
        """Add the sums of the parameters' gradients to their totals; return the gradient of the inputs."""
        of_inputs, of_own = self._meet(kept, backprops, wanted=wanted, together=TOGETHER)
        for parameter, sums in of_own:
            totals[parameter].add_(sums[0] if len(sums) == 1 else sums.sum(dim=0))
        return of_inputs

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        return self.back(kept, backprops, wanted=True)[0]

    def _meet(self, kept: Kept, backprops: Tensor, *, wanted: bool, together: int) -> tuple[Tensor, _Own]:
        """Return gradients of inputs, if they are wanted, and of parameters, of so many records together."""
        images, which, results = kept
        slopes, kernel = channels_last(backprops), channels_last(self._layer.weight.detach())
        of_images = torch.zeros_like(images) if wanted else None
        blocks = -(-len(images) // together)
        of_kernels, of_bias = (kernel.new_zeros(blocks, *size) for size in (kernel.shape, kernel.shape[:1]))

        def some(part: slice) -> None:
            scratch = self._scratch(results)
            for block in range(part.start, part.stop):
                records = slice(block * together, (block + 1) * together)
                kernels.run(
                    "pooled_back",
                    self._shape(images[records], results),
                    *(images[records], kernel, slopes[records], which[records]),
                    of_images if of_images is None else of_images[records],
                    *(of_kernels[block], of_bias[block], *scratch),
                )

        operations = together * slopes.shape[1:].numel() * kernel[0].numel()
        by_blocks(some, blocks, operations=operations)
        of_inputs = backprops if of_images is None else cropped(channels_first(of_images), self._layer)
        of_own = [(self._layer.weight, channels_first(of_kernels))]
        return of_inputs, of_own if self._layer.bias is None else [*of_own, (self._layer.bias, of_bias)]

    def _shape(self, images: Tensor, results: torch.Size) -> Pooled:
        return Pooled(
            *images.shape, *results[1:], *pair(self._layer.kernel_size), *pair(self._layer.stride), _BAND
        )

    def _results(self, images: Tensor) -> torch.Size:
        """Return the size of the results, [b, H', W', O]."""
        layer, (records, *sides, _) = self._layer, images.shape
        kernel, stride = pair(layer.kernel_size), pair(layer.stride)
        height, width = ((s - k) // step + 1 for s, k, step in zip(sides, kernel, stride, strict=True))
        return torch.Size([records, height, width, layer.out_channels])

    @staticmethod
    def _scratch(results: torch.Size) -> tuple[Tensor, Tensor]:
        """Return room for what a band of pooled rows is sorted into."""
        _, _, width, outputs = results
        squares = _BAND * (width // 2)
        entries = torch.empty((_FOUR + 1) * (squares + 1) * outputs, dtype=torch.int64)
        return entries, torch.empty(_FOUR * squares + outputs, dtype=torch.int32)


def _suits(layer: nn.Conv2d) -> bool:
    return is_simple(layer) and layer.in_channels % _CHANNELS == layer.out_channels % _CHANNELS == 0


def _is_three_by_three(layer: nn.Conv2d) -> bool:
    return pair(layer.kernel_size) == (3, 3) and pair(layer.stride) == (1, 1)


def _is_of_four(layer: nn.MaxPool2d) -> bool:
    sides = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return [pair(side) for side in sides] == [(2, 2), (2, 2), (0, 0), (1, 1)] and not layer.ceil_mode
