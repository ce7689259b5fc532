"""The scattering transform of 32-pixel images as a front, each channel brought to a common scale."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from common.models.front import Front, FrontFunction
from common.models.scattering.constants import DEVIATIONS, MEANS
from common.models.scattering.module import ScatteringModule
from common.models.scattering.transform import Scattering

SCALES, ORIENTATIONS, IMAGE_SIZE = 2, 8, 32
CHANNELS = 3 * (1 + SCALES * ORIENTATIONS + ORIENTATIONS**2)
_SIDE = IMAGE_SIZE // 2**SCALES


def channel_constants() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the public mean and standard deviation of each channel, float32 [243]."""
    return np.array(MEANS.split(), dtype=np.float32), np.array(DEVIATIONS.split(), dtype=np.float32)


def standardised_scattering(device: torch.device) -> FrontFunction:
    """Build the front: uint8 [batch, 3, 32, 32] to float32 [batch, 243, 8, 8].

    Privacy: the constants come from procedurally drawn images (`benchmarks/scattering_constants.py`).
    """
    scattering = Scattering(
        scales=SCALES, orientations=ORIENTATIONS, image_size=(IMAGE_SIZE, IMAGE_SIZE), device=device
    )
    means, deviations = (torch.from_numpy(each)[:, None, None].to(device) for each in channel_constants())

    def features(images: Tensor) -> Tensor:
        return scattering(images.float().div_(255)).sub_(means).div_(deviations)

    return features


class StandardisedScattering(nn.Module):
    """Compute the front's features: pixels float32 [batch, 3, 32, 32], 0 to 255, to [batch, 243, 8, 8]."""

    means: Tensor
    scales: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.scattering = ScatteringModule(
            scales=SCALES, orientations=ORIENTATIONS, image_size=(IMAGE_SIZE, IMAGE_SIZE)
        )
        means, deviations = channel_constants()
        self.register_buffer("means", torch.from_numpy(means)[:, None, None])
        self.register_buffer("scales", torch.from_numpy(1 / deviations)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Transform a batch."""
        features: Tensor = (self.scattering(images / 255) - self.means) * self.scales
        return features


SCATTERING = Front(
    version=f"scattering-2-8-32/1/{hashlib.sha256((MEANS + DEVIATIONS).encode()).hexdigest()[:16]}",
    output_shape=(CHANNELS, _SIDE, _SIDE),
    build=standardised_scattering,
    module=StandardisedScattering,
)
