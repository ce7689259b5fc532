"""Gradients of a convolution's kernel, written out one of the kernel's rows at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from client.gradients.geometry import Geometry
from client.gradients.records import RecordGradients, by_record, parts_of, row_norms, without_rows

_IN_HAND = 2**18
"""Numbers of spread images that are in hand at a time, so that they stay in a core's cache."""
_MANY_FILTERS = 16
"""From so many on, a matrix product is quicker with the values of one pixel beside each other."""


@dataclass(frozen=True, kw_only=True)
class RowwiseKernels(RecordGradients):
    """A kernel's gradients for each of b records, in the order in which they come out of matrix products.

    Args:
        samples: [b, groups, rows of the kernel, C / groups, columns of the kernel, O / groups].
        geometry: of the convolution.
    """

    samples: Tensor
    geometry: Geometry

    @classmethod
    def of(cls, geometry: Geometry, images: Tensor, backprops: Tensor) -> RowwiseKernels:
        """Compute the gradients, some records at a time.

        Opacus unfolds a whole batch into patches. Here images are spread along their width alone, once for
        each of the kernel's columns. What one of the kernel's rows sees is then a stretch of consecutive
        numbers, so that its gradients are one matrix product.

        Args:
            geometry: of the convolution.
            images: the input, [b, C, H, W].
            backprops: gradient of the output, [b, O, H', W'].
        """
        filters, channels, rows, columns = geometry.kernel
        shape = (geometry.groups, rows, channels, columns, filters // geometry.groups)
        samples = images.new_empty(len(images), *shape)
        padded = _padded(geometry, images)
        values = _by_pixel(geometry, backprops)
        for part in parts_of(len(images), padded[0].numel() * columns, at_most=_IN_HAND):
            spread = _spread(geometry, padded[part], backprops.shape[3])
            some = values[part].flatten(0, 1)
            products = [
                torch.bmm(_seen_by(geometry, spread, row, backprops.shape[2]), some) for row in range(rows)
            ]
            together = torch.stack(products, dim=1)  # [b * groups, rows, channels * columns, filters]
            samples[part] = together.view(-1, *shape)
        return cls(samples=samples, geometry=geometry)

    def __len__(self) -> int:
        """Return the number of records, b."""
        return len(self.samples)

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""
        return row_norms(self.samples.flatten(1))

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, in the kernel's shape."""
        summed = factors @ self.samples.flatten(1)
        return self._in_order(summed.view(1, *self.samples.shape[1:]))[0]

    def dense(self) -> Tensor:
        """Return the gradients, [b, *shape of the kernel]."""
        return self._in_order(self.samples)

    def without(self, records: Tensor) -> RowwiseKernels:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""
        return RowwiseKernels(samples=without_rows(self.samples, records), geometry=self.geometry)

    def averaged(self, views: int) -> RowwiseKernels:
        """Return the mean over every `views` gradients in a row."""
        means = by_record(self.samples, views).mean(dim=1)
        return RowwiseKernels(samples=means, geometry=self.geometry)

    def _in_order(self, samples: Tensor) -> Tensor:
        return samples.permute(0, 1, 5, 3, 2, 4).reshape(-1, *self.geometry.kernel)


def _padded(geometry: Geometry, images: Tensor) -> Tensor:
    """Return images with the zeros around them, and as many below that rows can be taken a stride apart."""
    down, right = geometry.padding
    margins = (right, right, down, down + geometry.stride[0] - 1)
    images = images.contiguous()
    return functional.pad(images, margins) if any(margins) else images


def _by_pixel(geometry: Geometry, backprops: Tensor) -> Tensor:
    """Return backpropagated values [b, groups, H' * W', O / groups], laid out as products are quickest."""
    filters, groups = geometry.kernel[0], geometry.groups
    if filters < _MANY_FILTERS:
        return backprops.contiguous().view(len(backprops), groups, filters // groups, -1).transpose(2, 3)
    pixels = backprops.permute(0, 2, 3, 1).contiguous()
    return pixels.view(len(backprops), -1, groups, filters // groups).transpose(1, 2)


def _spread(geometry: Geometry, padded: Tensor, width: int) -> Tensor:
    """Return what each of the kernel's columns sees of each image row.

    Args:
        geometry: of the convolution.
        padded: images [b, C, H, W] with zeros around them.
        width: of the output, W'.

    Returns:
        [b * groups, C / groups * columns, stride, H // stride, W']: rows that are a stride apart, which one
        row of the kernel meets one after the other, lie next to each other.
    """
    record, channel, row, column = padded.stride()
    (down, right), aside = geometry.stride, geometry.dilation[1]
    shape = (*padded.shape[:2], geometry.kernel[3], down, padded.shape[2] // down, width)
    strides = (record, channel, column * aside, row, row * down, column * right)
    offset = padded.storage_offset()
    spread = padded.as_strided(shape, strides, offset).contiguous()
    return spread.view(len(padded) * geometry.groups, -1, *shape[3:])


def _seen_by(geometry: Geometry, spread: Tensor, row: int, height: int) -> Tensor:
    """Return what one of the kernel's rows sees, [b * groups, C / groups * columns, H' * W']."""
    first, offset = divmod(row * geometry.dilation[0], geometry.stride[0])
    return spread[:, :, offset, first : first + height].flatten(2)
