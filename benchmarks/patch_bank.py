"""Make the public constants of patch features: `python -m benchmarks.patch_bank` rewrites their file and
prints its hash, which common/models/patches/bank.py must name.

Filters are random patches of procedurally drawn images, whitened; means, deviations and the whitening of
features come from other such images. No private and no real image takes part.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.procedural_images import IMAGE_SIZE, draw_images
from common.models.patches.bank import BANK_FILE, write_bank
from common.models.patches.features import PatchBank, pooled_responses

FILTERS, SIDE, PARTS = 512, 6, 3
CONTRAST = 100 / 255**2
THRESHOLD = 1.0
PATCH_REGULARISER = 0.5
CHANNEL_REGULARISER = 0.3
_PATCHES_EACH = 20


def patches_of(images: Tensor, generator: torch.Generator) -> Tensor:
    """Cut random patches and bring them to mean 0 and a common contrast; [n, 3, side, side]."""
    places = torch.randint(0, IMAGE_SIZE - SIDE + 1, (_PATCHES_EACH, len(images), 2), generator=generator)
    cut = [
        image[:, row : row + SIDE, column : column + SIDE]
        for pairs in places.tolist()
        for image, (row, column) in zip(images, pairs, strict=True)
    ]
    patches = torch.stack(cut).float().div(255)
    patches = patches - patches.mean(dim=(1, 2, 3), keepdim=True)
    return patches / (patches.flatten(1).var(dim=1).view(-1, 1, 1, 1) + CONTRAST).sqrt()


def whitening_of(covariance: Tensor, regulariser: float) -> Tensor:
    """Return the inverse square root of a covariance [d, d], its eigenvalues raised by a regulariser."""
    values, vectors = torch.linalg.eigh(covariance.double())
    scaled = vectors * (values.clamp_min(0) + regulariser).rsqrt()
    inverse: Tensor = (scaled @ vectors.T).float()
    return inverse


def filters_of(patches: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return filters [K, 3, side, side] and their responses to the mean patch [K].

    Patches are whitened together with their mirror images, so that the bank knows no left and right.
    """
    both = torch.cat([patches, patches.flip(-1)]).flatten(1)
    mean = both.mean(dim=0)
    centred = both - mean
    whitening = whitening_of(centred.T @ centred / len(both), PATCH_REGULARISER)
    chosen = torch.randperm(len(patches), generator=generator)[:FILTERS]
    directions = functional.normalize((patches.flatten(1)[chosen] - mean) @ whitening, dim=1) @ whitening
    centred_filters = directions - directions.mean(dim=1, keepdim=True)
    return centred_filters.view(FILTERS, 3, SIDE, SIDE), directions @ mean


def make_bank(images: int, seed: int) -> PatchBank:
    """Draw images and make all constants.

    Args:
        images: for the statistics of features, a multiple of 100; a fifth as many for patches.
        seed: of everything.
    """
    generator = torch.Generator().manual_seed(seed)
    filters, responses = filters_of(patches_of(draw_images(images // 5, seed), generator), generator)
    shape = (FILTERS, PARTS, PARTS)
    bank = PatchBank(
        filters=filters.half().float(),
        offsets=responses + THRESHOLD,
        contrast=CONTRAST,
        parts=PARTS,
        means=torch.zeros(shape),
        deviations=torch.ones(shape),
        whitening=torch.eye(FILTERS),
    )
    return _with_statistics(bank, draw_images(images, seed + 1))


def _with_statistics(bank: PatchBank, images: Tensor) -> PatchBank:
    features = pooled_responses(images, bank)
    means, deviations = features.mean(dim=0), features.std(dim=0)
    deviations = deviations + 1e-3 * deviations.mean()
    channels = ((features - means) / deviations).transpose(0, 1).flatten(1)
    whitening = whitening_of(channels @ channels.T / channels.shape[1], CHANNEL_REGULARISER)
    return replace(bank, means=means, deviations=deviations, whitening=whitening)


def main() -> None:
    """Rewrite the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with torch.inference_mode():
        write_bank(make_bank(arguments.images, arguments.seed), BANK_FILE)
    print("BANK_SHA256 =", hashlib.sha256(BANK_FILE.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
