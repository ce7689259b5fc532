"""Gradients of many records at once: their norms, and their weighted sum, without always writing them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

_PATCH_VALUES = 2**18  # unfolded image patches held at once, so that they stay in a core's cache


class RecordGradients(Protocol):
    """One parameter's gradient for each of b records."""

    def __len__(self) -> int:
        """Return the number of records, b."""

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, in the parameter's shape."""

    def dense(self) -> Tensor:
        """Write the gradients out, [b, *shape of the parameter]."""

    def without(self, records: Tensor) -> RecordGradients:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""


@dataclass(frozen=True, kw_only=True)
class DenseGradients:
    """Gradients written out, [b, *shape of the parameter]."""

    samples: Tensor

    def __len__(self) -> int:
        """Return the number of records, b."""
        return len(self.samples)

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""
        norms: Tensor = torch.linalg.vector_norm(self.samples.flatten(start_dim=1), dim=1)
        return norms

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, in the parameter's shape."""
        return (factors @ self.samples.flatten(start_dim=1)).view(self.samples.shape[1:])

    def dense(self) -> Tensor:
        """Return the gradients, [b, *shape of the parameter]."""
        return self.samples

    def without(self, records: Tensor) -> DenseGradients:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""
        return DenseGradients(samples=_without_rows(self.samples, records))


@dataclass(frozen=True, kw_only=True)
class OuterProducts:
    """Gradients of a matrix that each record used once: the outer product of two vectors.

    The norm of an outer product is the product of the norms, and a weighted sum of outer products is one
    matrix product, so the b matrices need not exist. Source: Goodfellow 2015, "Efficient per-example
    gradient computations".

    Args:
        outputs: gradient of the layer's output, [b, rows].
        inputs: the layer's input, [b, columns].
    """

    outputs: Tensor
    inputs: Tensor

    def __len__(self) -> int:
        """Return the number of records, b."""
        return len(self.outputs)

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""
        norms: Tensor = self.outputs.norm(dim=1) * self.inputs.norm(dim=1)
        return norms

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, [rows, columns]."""
        return (self.outputs * factors[:, None]).T @ self.inputs

    def dense(self) -> Tensor:
        """Write the gradients out, [b, rows, columns]."""
        return self.outputs[:, :, None] * self.inputs[:, None, :]

    def without(self, records: Tensor) -> OuterProducts:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""
        return OuterProducts(
            outputs=_without_rows(self.outputs, records), inputs=_without_rows(self.inputs, records)
        )


def add(first: RecordGradients | None, second: RecordGradients) -> RecordGradients:
    """Add gradients of the same records, where a parameter is used several times in one pass."""
    return second if first is None else DenseGradients(samples=first.dense() + second.dense())


def linear_gradients(
    layer: nn.Linear, activations: list[Tensor], backprops: Tensor
) -> dict[Tensor, RecordGradients]:
    """Return the gradients of a linear layer that saw one vector for each record.

    Args:
        layer: the layer.
        activations: its input, [b, columns], alone in a list.
        backprops: gradient of its output, [b, rows].
    """
    gradients: dict[Tensor, RecordGradients] = {}
    if layer.weight.requires_grad:
        gradients[layer.weight] = OuterProducts(outputs=backprops, inputs=activations[0])
    if layer.bias is not None and layer.bias.requires_grad:
        gradients[layer.bias] = DenseGradients(samples=backprops)
    return gradients


def conv2d_gradients(
    layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor
) -> dict[Tensor, RecordGradients]:
    """Return the gradients of a convolution, computed some records at a time.

    Opacus unfolds a whole batch into patches at once; for the first layer of a small network that is more
    memory than all else together, and fetching it from the system takes longer than the arithmetic.

    Args:
        layer: the convolution, of one group, padded with zeros by a number of pixels.
        activations: its input, [b, C, H, W], alone in a list.
        backprops: gradient of its output, [b, O, H', W'].
    """
    gradients: dict[Tensor, RecordGradients] = {}
    if layer.weight.requires_grad:
        gradients[layer.weight] = DenseGradients(samples=_kernel_gradients(layer, activations[0], backprops))
    if layer.bias is not None and layer.bias.requires_grad:
        gradients[layer.bias] = DenseGradients(samples=backprops.sum(dim=(2, 3)))
    return gradients


def _kernel_gradients(layer: nn.Conv2d, images: Tensor, backprops: Tensor) -> Tensor:
    vertical, horizontal = (int(padding) for padding in layer.padding)
    patches = _patches(layer, functional.pad(images, (horizontal, horizontal, vertical, vertical)), backprops)
    samples = images.new_empty(len(images), layer.out_channels, layer.weight[0].numel())
    records = max(1, _PATCH_VALUES // patches[0].numel())
    unfolded = patches.new_empty(records, *patches.shape[1:])
    parts = zip(
        torch.split(backprops.flatten(start_dim=2), records),
        torch.split(patches, records),
        torch.split(samples, records),
        strict=True,
    )
    for output_part, patch_part, sample_part in parts:
        columns = unfolded[: len(patch_part)].copy_(patch_part).flatten(1, 3).flatten(2)
        torch.bmm(output_part, columns.transpose(1, 2), out=sample_part)
    return samples.view(len(images), *layer.weight.shape)


def _patches(layer: nn.Conv2d, padded: Tensor, backprops: Tensor) -> Tensor:
    """View padded images [b, C, H, W] as overlapping patches [b, C, kernel, kernel, H', W']."""
    record, channel, row, column = padded.stride()
    (down, right), (apart, aside) = layer.stride, layer.dilation
    return padded.as_strided(
        (*padded.shape[:2], *layer.kernel_size, *backprops.shape[2:]),
        (record, channel, row * apart, column * aside, row * down, column * right),
    )


def _without_rows(rows: Tensor, unwanted: Tensor) -> Tensor:
    return rows.masked_fill(unwanted.view(-1, *[1] * (rows.dim() - 1)), 0.0)
