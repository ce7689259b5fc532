"""Gradients of a convolution's kernel that are never written out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from client.gradients.geometry import Geometry
from client.gradients.records import DenseGradients, RecordGradients, without_rows


@dataclass(frozen=True, kw_only=True)
class GhostKernels(RecordGradients):
    """A kernel's gradients for each of b records, held as what they are made of.

    The squared norm of a gradient is a sum, over all pairs of output pixels, of the inner product of the two
    backpropagated vectors times the inner product of the two image patches; the latter is itself a sum of
    inner products of pixels. All of these are taken in float64: their sum can be far smaller than its parts,
    and a norm that came out too small would let a record pass unclipped. A weighted sum of gradients is the
    gradient of a batch whose backpropagated values are weighted.
    Source: Li et al. 2022, "Large Language Models Can Be Strong Differentially Private Learners", section 4;
    Bu, Mao and Xu 2022, "Scalable and Efficient Training of Large Convolutional Neural Networks with
    Differential Privacy", section 3; for the one backward pass, Bu et al. 2023, "Differentially Private
    Optimization on Large Model at Small Cost".

    Args:
        inputs: the layer's images, [b, C, H, W].
        outputs: gradient of its output, [b, O, H', W'].
        geometry: of the convolution.
    """

    inputs: Tensor
    outputs: Tensor
    geometry: Geometry

    def __len__(self) -> int:
        """Return the number of records, b."""
        return len(self.outputs)

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""
        height, width = self.outputs.shape[2:]
        patches = self._between_patches(self._inner_products(self.inputs), height, width)
        backprops = self._inner_products(self.outputs)
        squares = (patches.reshape_as(backprops) * backprops).sum(dim=(0, 1))
        return squares.view(len(self), -1).sum(dim=1).clamp(min=0.0).sqrt().to(self.outputs.dtype)

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, in the kernel's shape."""
        return self.geometry.kernel_sum(self.inputs, self.outputs * factors.view(-1, 1, 1, 1))

    def dense(self) -> Tensor:
        """Write the gradients out, [b, *shape of the kernel]."""
        return self.geometry.kernel_of_each(self.inputs, self.outputs)

    def without(self, records: Tensor) -> GhostKernels:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""
        return GhostKernels(
            inputs=without_rows(self.inputs, records),
            outputs=without_rows(self.outputs, records),
            geometry=self.geometry,
        )

    def averaged(self, views: int) -> DenseGradients:
        """Return the mean over every `views` gradients in a row, written out."""
        return DenseGradients(samples=self.dense()).averaged(views)

    def _inner_products(self, images: Tensor) -> Tensor:
        """Return inner products of pixels, [pixels, pixels, b * groups]; sums run along the last axis."""
        pixels = images.double().reshape(len(images) * self.geometry.groups, -1, images[0, 0].numel())
        return torch.bmm(pixels.transpose(1, 2), pixels).permute(1, 2, 0).contiguous()

    def _between_patches(self, products: Tensor, height: int, width: int) -> Tensor:
        """Sum inner products of pixels to those of patches, for outputs of some height and width."""
        rows, columns = self.inputs.shape[2:]
        down, right = self.geometry.padding
        grid = products.view(rows, columns, rows, columns, -1)
        grid = functional.pad(grid, (0, 0, right, right, down, down, right, right, down, down))
        vertically = _total([grid[part][:, :, part] for part in self._shifts(0, height)])
        return _total([vertically[:, part][:, :, :, part] for part in self._shifts(1, width)])

    def _shifts(self, axis: int, positions: int) -> list[slice]:
        """Return, for each of the kernel's rows or columns, the pixels that it lies on at each position."""
        step, apart = self.geometry.stride[axis], self.geometry.dilation[axis]
        elements = self.geometry.kernel[2 + axis]
        return [slice(at * apart, at * apart + (positions - 1) * step + 1, step) for at in range(elements)]


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total.add_(part)
    return total
