"""Convolutions of few channels, first in a network, and what is above zero of their results."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from client import kernels
from client.gradients.geometry import channels_first, channels_last, cropped, is_simple, padded
from client.gradients.link import TOGETHER, Gradients, Kept, Link, Totals, pair
from client.gradients.records import DenseGradients
from client.kernels.parallel import by_blocks
from client.kernels.structures import Thin

_FEW_CHANNELS, _OUTPUTS = 4, 16


class ThinConvolution(Link):
    """A convolution and max(0, x), whose results lie with channels last in memory.

    Args:
        layer: the convolution, one that `of` takes.
    """

    is_trained = True

    def __init__(self, layer: nn.Conv2d) -> None:
        self._layer = layer

    @classmethod
    def of(cls, layers: Sequence[nn.Module]) -> ThinConvolution | None:
        """Return the link for the first two layers, or None where they are not of this kind."""
        if len(layers) < 2 or type(layers[1]) is not nn.ReLU:
            return None
        layer = layers[0]
        return cls(layer) if type(layer) is nn.Conv2d and _suits(layer) else None

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return what is above zero of the results, [b, O, H', W'], and what `back` needs.

        Raises:
            ValueError: when the images are not of the layer's channels, or smaller than its kernel.
        """
        layer, (rows, columns) = self._layer, pair(self._layer.kernel_size)
        images = padded(inputs, layer).contiguous()
        height, width = images.shape[2] - rows + 1, images.shape[3] - columns + 1
        if min(height, width) < 1:
            raise ValueError(f"images of size {[*inputs.shape]} are smaller than the kernel of {layer}")
        kernel = layer.weight.detach().permute(1, 2, 3, 0).contiguous()
        bias = None if layer.bias is None else layer.bias.detach()
        results = images.new_empty(len(images), height, width, layer.out_channels)

        def some(part: slice) -> None:
            shape = self._shape(images[part], results[part])
            kernels.run("thin_forward", shape, images[part], kernel, bias, results[part])

        by_blocks(some, len(images), operations=height * width * kernel.numel())
        return channels_first(results), (images, results)

    def back(self, kept: Kept, backprops: Tensor, *, wanted: bool) -> tuple[Tensor, Gradients]:
        """Return the gradients of the inputs, if they are wanted, and of the parameters."""
        of_kernel, of_bias = self._meet(kept, backprops, together=1)
        gradients: Gradients = {self._layer.weight: DenseGradients(samples=of_kernel)}
        if self._layer.bias is not None:
            gradients[self._layer.bias] = DenseGradients(samples=of_bias)
        return self._backward(kept, backprops) if wanted else backprops, gradients

    def back_summed(self, kept: Kept, backprops: Tensor, totals: Totals, *, wanted: bool) -> Tensor:
        """Add the sums of the parameters' gradients to their totals; return the gradient of the inputs."""
        of_inputs = self._backward(kept, backprops) if wanted else backprops
        of_kernel, of_bias = self._meet(kept, backprops, together=TOGETHER)
        totals[self._layer.weight].add_(of_kernel.sum(dim=0))
        if self._layer.bias is not None:
            totals[self._layer.bias].add_(of_bias.sum(dim=0))
        return of_inputs

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        layer, (images, results) = self._layer, kept
        slopes = torch.where(channels_first(results) <= 0, 0, backprops)
        of_images: Tensor = conv2d_input(images.shape, layer.weight, slopes)  # type: ignore[no-untyped-call]
        return cropped(of_images, layer)

    def _meet(self, kept: Kept, backprops: Tensor, *, together: int) -> tuple[Tensor, Tensor]:
        """Return the gradients of kernels and biases, of so many records together."""
        (images, results), layer = kept, self._layer
        slopes, blocks = channels_last(backprops), -(-len(images) // together)
        size = torch.Size([layer.in_channels, *pair(layer.kernel_size)])
        of_kernels = images.new_zeros(blocks, size.numel(), layer.out_channels)
        of_biases = images.new_zeros(blocks, layer.out_channels)

        def some(part: slice) -> None:
            for block in range(part.start, part.stop):
                records = slice(block * together, (block + 1) * together)
                kernels.run(
                    "thin_back",
                    self._shape(images[records], results[records]),
                    *(images[records], results[records], slopes[records]),
                    *(of_kernels[block], of_biases[block]),
                )

        by_blocks(some, blocks, operations=together * slopes.shape[1:].numel() * size.numel())
        return of_kernels.movedim(-1, 1).unflatten(2, size), of_biases

    def _shape(self, images: Tensor, results: Tensor) -> Thin:
        (channels, height, width), (rows, columns) = images.shape[1:], pair(self._layer.kernel_size)
        places = [
            (channel * height + y) * width + x
            for channel in range(channels)
            for y in range(rows)
            for x in range(columns)
        ]
        sizes = (len(images), images.shape[1:].numel(), width, *results.shape[1:], len(places))
        return Thin(*sizes, (ctypes.c_int32 * len(places))(*places))


def _suits(layer: nn.Conv2d) -> bool:
    few = layer.in_channels <= _FEW_CHANNELS and layer.out_channels % _OUTPUTS == 0
    return is_simple(layer) and few and pair(layer.stride) == (1, 1)
