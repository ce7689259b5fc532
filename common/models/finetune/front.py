"""A backbone's features as a front."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.models.finetune.backbone import Recipe, feature_count, recipe_of
from common.models.finetune.weights import load_backbone, require_digest
from common.models.front import Front, FrontFunction

BIAS = 0.1
"""Constant last feature, a bias that takes little of a clipped gradient: the others have norm 1 together."""

_FORM = 1
"""Of what is computed besides the network itself; another form has another number."""

_IMAGES_AT_ONCE = 16
_LEAST_NORM = 1e-12


class BackboneFeatures(nn.Module):
    """Compute a record's features from its pixels alone: float32 [batch, 3, height, width], 0 to 255.

    Args:
        network: the frozen backbone, in evaluation mode.
        recipe: how it wants its images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(recipe.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(recipe.std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 [batch, features + 1]: centred, of norm 1, and a constant.

        Features of a rectified network are all positive, so any two records point the same way; without
        each record's own average they point apart, and few noised steps tell them apart.
        """
        features: Tensor = self.network((images / 255 - self.mean) / self.std)
        centred = features - features.mean(dim=1, keepdim=True)
        norms = centred.norm(dim=1, keepdim=True).clamp_min(_LEAST_NORM)
        return functional.pad(centred / norms, (0, 1), value=BIAS)


def backbone_front(backbone: str, *, weights: str, digest: str, image_size: int) -> Front:
    """Return the front of a backbone; its weights are loaded when it is built.

    Args:
        backbone: torchvision's name.
        weights: a file, or "auto" for torchvision's own.
        digest: SHA-256 (hex) that they must have.
        image_size: height and width in pixels.
    """
    module = partial(_module, backbone, weights, digest)
    return Front(
        version=f"{backbone}-{image_size}/{_FORM}/{digest[:32]}",
        output_shape=(feature_count(backbone) + 1,),
        build=partial(_build, module),
        module=module,
    )


def _module(backbone: str, weights: str, digest: str) -> BackboneFeatures:
    loaded = load_backbone(backbone, weights)
    require_digest(loaded, backbone, digest)
    return BackboneFeatures(copy.deepcopy(loaded.network), recipe_of(backbone)).eval()


def _build(module: partial[BackboneFeatures], device: torch.device) -> FrontFunction:
    features = module().to(device)

    def of_images(images: Tensor) -> Tensor:
        return torch.cat([features(part.float()) for part in torch.split(images, _IMAGES_AT_ONCE)])

    return of_images
