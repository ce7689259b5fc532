"""torchvision's classification networks without their last layer, so that features come out."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from common.errors import ConfigError

PREFIX = "finetune:"
EXAMPLE = f"{PREFIX}resnet18"

_FAMILIES = (
    "alexnet",
    "convnext",
    "densenet",
    "efficientnet",
    "googlenet",
    "inception_v3",
    "mobilenet",
    "resnet",
    "resnext",
    "shufflenet",
    "squeezenet",
    "vgg",
    "vit_b",
    "vit_l",
    "wide_resnet",
)
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the published weights of a network want their images.

    Args:
        image_size: height and width in pixels.
        mean: what is taken from each colour, of pixels between 0 and 1.
        std: what each colour is divided by then.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def is_finetune(name: str) -> bool:
    """Say whether a model's name asks for a backbone."""
    return name.startswith(PREFIX)


def backbone_of(name: str) -> str:
    """Return torchvision's name for the network of `finetune:NAME`.

    Raises:
        ConfigError: there is none; the message holds the nearest ones.
    """
    backbone = name.removeprefix(PREFIX)
    known = backbones()
    if backbone in known:
        return backbone
    nearest = difflib.get_close_matches(backbone.lower(), known, n=3, cutoff=0.4) or ["resnet18", "vgg16"]
    offered = " or ".join(f"{PREFIX}{one}" for one in nearest)
    raise ConfigError(
        f"unknown model {name[:80]!r}: torchvision has no such backbone, did you mean {offered}?"
    )


@lru_cache(maxsize=1)
def backbones() -> tuple[str, ...]:
    """Return the names of all networks that can be a backbone."""
    import torchvision.models  # costs seconds, which other models save

    return tuple(
        name
        for name in torchvision.models.list_models(module=torchvision.models)
        if name.startswith(_FAMILIES)
    )


@lru_cache(maxsize=8)
def recipe_of(backbone: str) -> Recipe:
    """Return how torchvision's default weights of a network want their images."""
    from torchvision.models import get_model_weights

    wanted = get_model_weights(backbone).DEFAULT.transforms()
    return Recipe(image_size=wanted.crop_size[0], mean=tuple(wanted.mean), std=tuple(wanted.std))


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A network without its last layer and without values: all tensors are on the device "meta".

    Args:
        network: float32 [batch, 3, height, width] to [batch, features], in evaluation mode.
        features: how many there are.
        head: the last layer's name in torchvision's network.
    """

    network: nn.Module
    features: int
    head: str


def skeleton_of(backbone: str) -> Skeleton:
    """Build a network without values; its last layer, linear or a convolution, is left out."""
    with torch.device("meta"):
        network = _build(backbone)
    layers = [(name, layer) for name, layer in network.named_modules() if _is_weighted(layer)]
    head, last = layers[-1]
    parent, _, child = head.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.__dict__["inplace"] = False  # for explanations, which look at what a layer gave
    features = last.in_features if isinstance(last, nn.Linear) else last.in_channels
    return Skeleton(network=network.eval().requires_grad_(False), features=int(features), head=head)


@lru_cache(maxsize=8)
def feature_count(backbone: str) -> int:
    """Return how many features a network has for the last layer that it lacks here."""
    return skeleton_of(backbone).features


@lru_cache(maxsize=8)
def check_image_size(backbone: str, image_size: int) -> int:
    """Return the size if a network can see images of it.

    Raises:
        ConfigError: naming the size that its published weights are for.
    """
    try:
        skeleton_of(backbone).network(torch.empty(1, 3, image_size, image_size, device="meta"))
    except (RuntimeError, AssertionError):
        raise ConfigError(
            f"model.image-size = {image_size} is not permitted with {PREFIX}{backbone}, whose layers need "
            f'another: give {recipe_of(backbone).image_size}, or "auto" for that'
        ) from None
    return image_size


def _build(backbone: str) -> nn.Module:
    from torchvision.models import get_model

    # as torchvision builds it for its own weights, but for the heads that training alone needs
    special = {"aux_logits": False, "init_weights": False, "transform_input": True}
    options = special if backbone in _WITH_AUXILIARY_HEADS else {}
    network: nn.Module = get_model(backbone, weights=None, **options)
    return network


def _is_weighted(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear | nn.Conv2d)
