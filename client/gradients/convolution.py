"""Gradients of two-dimensional convolutions: written out, or known by their norms and their sum alone."""

from __future__ import annotations

from torch import Tensor, nn

from client.gradients.geometry import Geometry, laid_out
from client.gradients.ghost import GhostKernels
from client.gradients.records import DenseGradients, RecordGradients, parts_of
from client.gradients.rowwise import RowwiseKernels

_IN_HAND = 2**20
"""Numbers that one call touches, so that they stay in a core's cache."""
_FEW_CHANNELS = 8
"""Up to so many input channels matrix products are quicker than a convolution of many groups."""


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
    if _is_rowwise(geometry, images):
        return RowwiseKernels.of(geometry, images, backprops)
    return DenseGradients(samples=_by_groups(geometry, images, backprops))


def kernels_of_each(geometry: Geometry, images: Tensor, backprops: Tensor) -> Tensor:
    """Write the kernel's gradient out for each record, [b, O, C / groups, rows, columns].

    Args:
        geometry: of the convolution.
        images: the input, [b, C, H, W].
        backprops: gradient of the output, [b, O, H', W'].
    """
    if _is_rowwise(geometry, images):
        return RowwiseKernels.of(geometry, images, backprops).dense()
    return _by_groups(geometry, images, backprops)


def _is_rowwise(geometry: Geometry, images: Tensor) -> bool:
    return geometry.kernel[1] <= _FEW_CHANNELS or images.device.type != "cpu"


def _by_groups(geometry: Geometry, images: Tensor, backprops: Tensor) -> Tensor:
    """Let the library's own convolution do it, some records at a time."""
    samples = images.new_empty(len(images), *geometry.kernel)
    touched = images[0].numel() + backprops[0].numel() + samples[0].numel()
    for part in parts_of(len(images), touched, at_most=_IN_HAND):
        samples[part] = geometry.kernel_of_each(images[part], backprops[part])
    return samples
