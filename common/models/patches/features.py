"""How much each part of an image looks like patches of a bank, with its mirror image counted in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

BIAS = 0.1
"""Constant last feature, a bias that takes little of a clipped gradient: the others have norm 1 together."""

_IMAGES_AT_ONCE = 8  # the responses of so many stay near a core's cache
_LEAST_NORM = 1e-12


@dataclass(frozen=True, kw_only=True)
class PatchBank:
    """Public constants of the features; K filters, and pooling to `parts` by `parts`.

    Args:
        filters: whitened patches times the whitening of patches, [K, 3, side, side]; each sums to zero.
        offsets: what a filter's response is reduced by, [K]: that to the mean patch, plus a threshold.
        contrast: added to a patch's variance, so that flat patches are not blown up; of images in [0, 1].
        parts: rows and columns of pooling.
        means: of the features, [K, parts, parts].
        deviations: of the features, [K, parts, parts].
        whitening: of the standardised features' channels, symmetric, [K, K].
    """

    filters: Tensor
    offsets: Tensor
    contrast: float
    parts: int
    means: Tensor
    deviations: Tensor
    whitening: Tensor

    @property
    def size(self) -> int:
        """The number of features of an image, the constant included."""
        return self.means.numel() + 1

    def to(self, device: torch.device) -> PatchBank:
        """Return the same constants on a device."""
        return replace(
            self,
            filters=self.filters.to(device),
            offsets=self.offsets.to(device),
            means=self.means.to(device),
            deviations=self.deviations.to(device),
            whitening=self.whitening.to(device),
        )


def patch_features(images: Tensor, bank: PatchBank) -> Tensor:
    """Compute the features of images, equal for an image and its mirror image.

    Every patch is centred and divided by its deviation, compared with each filter, and what lies above the
    threshold is averaged over parts of the image. The averages are standardised, their channels whitened,
    and each image's features brought to norm 1: so every record can move a model as much as any other.
    Source: Coates and Ng 2012, "Learning Feature Representations with K-means", sections 2 and 4, with random
    patches in place of means; Tramer and Boneh 2021, section 3, for linear models on fixed features.

    Args:
        images: uint8 [batch, 3, height, width], on the bank's device.
        bank: the constants.

    Returns:
        float32 [batch, bank.size].
    """
    standard = (pooled_responses(images, bank) - bank.means) / bank.deviations
    white = torch.einsum("kc,bchw->bkhw", bank.whitening, standard).flatten(1)
    norms = white.norm(dim=1, keepdim=True).clamp_min(_LEAST_NORM)
    return functional.pad(white / norms, (0, 1), value=BIAS)


def pooled_responses(images: Tensor, bank: PatchBank) -> Tensor:
    """Return the averages before any standardisation; what a bank's own statistics are made of.

    Args:
        images: uint8 [batch, 3, height, width].
        bank: its filters, offsets and contrast; the rest is not looked at.

    Returns:
        float32 [batch, K, parts, parts].
    """
    return torch.cat(
        [_pooled(chunk.float().div(255), bank) for chunk in torch.split(images, _IMAGES_AT_ONCE)]
    )


def _pooled(images: Tensor, bank: PatchBank) -> Tensor:
    """Average the responses of the filters and of their mirror images; float images in [0, 1]."""
    deviations = _patch_deviations(images, side=bank.filters.shape[-1], contrast=bank.contrast)
    images = images.contiguous(memory_format=torch.channels_last)
    straight = _averages(images, bank.filters, deviations, bank)
    mirrored = _averages(images, bank.filters.flip(-1), deviations, bank)
    return straight + mirrored.flip(-1)


def _averages(images: Tensor, filters: Tensor, deviations: Tensor, bank: PatchBank) -> Tensor:
    responses = functional.conv2d(images, filters.contiguous(memory_format=torch.channels_last))
    above = responses.div_(deviations).sub_(bank.offsets[:, None, None]).relu_()
    return functional.adaptive_avg_pool2d(above, bank.parts)


def _patch_deviations(images: Tensor, *, side: int, contrast: float) -> Tensor:
    """Return each patch's standard deviation over all colours, contrast added; [batch, 1, rows, columns]."""
    values = 3 * side * side
    means = functional.avg_pool2d(images.mean(dim=1, keepdim=True), side, stride=1)
    squares = functional.avg_pool2d(images.square().mean(dim=1, keepdim=True), side, stride=1)
    variances = (squares - means.square()).clamp_min(0.0) * (values / (values - 1))
    return (variances + contrast).sqrt()
