"""Patch features of 32-pixel images as a front."""

from __future__ import annotations

from functools import partial

import torch

from common.models.front import Front, FrontFunction
from common.models.patches.bank import BANK_SHA256, load_bank
from common.models.patches.features import patch_features

IMAGE_SIZE = 32
FEATURES = 512 * 3 * 3 + 1


def _build(device: torch.device) -> FrontFunction:
    return partial(patch_features, bank=load_bank().to(device))


PATCHES = Front(version=f"patches-32/1/{BANK_SHA256[:16]}", output_shape=(FEATURES,), build=_build)
