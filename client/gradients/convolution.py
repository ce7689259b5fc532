"""Gradients of two-dimensional convolutions: written out, or known by their norms and their sum alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from client.gradients.geometry import Geometry, laid_out
from client.gradients.ghost import GhostKernels
from client.gradients.records import DenseGradients, RecordGradients

_CHUNK_VALUES = 2**20
"""Numbers that one call touches, so that they stay in a core's cache."""
_PATCH_PASSES = 4
"""Patches are written and read several times, so fewer of them are held."""
_FEW_CHANNELS = 4
"""Up to so many input channels a matrix product of patches is quicker than a convolution of many groups."""


def conv2d_gradients(
    layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor
) -> dict[Tensor, RecordGradients]:
    """Return the gradients of a convolution.

    Where the image is small beside the kernel, norms follow from inner products of pixels, and no kernel's
    gradient ever exists; elsewhere they are written out, some records at a time. The rule looks at shapes
    alone, so the same network gives the same bits everywhere. Source: Bu, Mao and Xu 2022, "Scalable and
    Efficient Training of Large Convolutional Neural Networks with Differential Privacy", section 3.

    Args:
        layer: the convolution, of any groups, stride, padding and dilation.
        activations: its input, [b, C, H, W], alone in a list.
        backprops: gradient of its output, [b, O, H', W'].
    """
    gradients: dict[Tensor, RecordGradients] = {}
    if layer.weight.requires_grad:
        gradients[layer.weight] = _kernel_gradients(layer, activations[0], backprops)
    if layer.bias is not None and layer.bias.requires_grad:
        gradients[layer.bias] = DenseGradients(samples=backprops.sum(dim=(2, 3)))
    return gradients


def _kernel_gradients(layer: nn.Conv2d, images: Tensor, backprops: Tensor) -> RecordGradients:
    geometry, images = laid_out(layer, images)
    pixels = max(images[0, 0].numel(), backprops[0, 0].numel())
    if 2 * pixels**2 < layer.weight.numel():
        return GhostKernels(inputs=images, outputs=backprops, geometry=geometry)
    if layer.groups == 1 and (layer.in_channels <= _FEW_CHANNELS or images.device.type != "cpu"):
        return DenseGradients(samples=_by_patches(geometry, images, backprops))
    return DenseGradients(samples=_by_groups(geometry, images, backprops))


def _by_groups(geometry: Geometry, images: Tensor, backprops: Tensor) -> Tensor:
    samples = images.new_empty(len(images), *geometry.kernel)
    touched = images[0].numel() + backprops[0].numel() + samples[0].numel()
    for part in _parts(len(images), touched):
        samples[part] = geometry.kernel_of_each(images[part], backprops[part])
    return samples


def _by_patches(geometry: Geometry, images: Tensor, backprops: Tensor) -> Tensor:
    """Multiply patches with backpropagated values, some records at a time.

    Opacus unfolds a whole batch into patches at once; for the first layer of a small network that is more
    memory than all else together, and fetching it from the system takes longer than the arithmetic.
    """
    down, right = geometry.padding
    patches = _patches(geometry, functional.pad(images, (right, right, down, down)), backprops)
    samples = images.new_empty(len(images), geometry.kernel[0], patches[0, :, :, :, 0, 0].numel())
    parts = _parts(len(images), _PATCH_PASSES * patches[0].numel())
    unfolded = torch.empty_like(patches[parts[0]], memory_format=torch.contiguous_format)
    for part in parts:
        columns = unfolded[: len(patches[part])].copy_(patches[part]).flatten(1, 3).flatten(2)
        torch.bmm(backprops[part].flatten(2), columns.transpose(1, 2), out=samples[part])
    return samples.view(len(images), *geometry.kernel)


def _patches(geometry: Geometry, padded: Tensor, backprops: Tensor) -> Tensor:
    """View padded images [b, C, H, W] as overlapping patches [b, C, kernel, kernel, H', W']."""
    record, channel, row, column = padded.stride()
    (down, right), (apart, aside) = geometry.stride, geometry.dilation
    return padded.as_strided(
        (*padded.shape[:2], *geometry.kernel[2:], *backprops.shape[2:]),
        (record, channel, row * apart, column * aside, row * down, column * right),
    )


def _parts(records: int, values_each: int) -> list[slice]:
    """Split a number of records so that no part, of at least one, touches more than _CHUNK_VALUES."""
    size = max(1, _CHUNK_VALUES // values_each)
    return [slice(start, start + size) for start in range(0, records, size)]
