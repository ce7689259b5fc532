"""`finetune:NAME`: a linear model that is trained privately on the frozen features of a public network."""

from __future__ import annotations

from functools import partial

from torch import nn

from common.config import ModelSettings, RunConfig
from common.models.finetune.backbone import (
    backbone_of,
    check_image_size,
    feature_count,
    is_finetune,
    recipe_of,
)
from common.models.finetune.front import backbone_front
from common.models.finetune.weights import is_pinned, load_backbone
from common.models.heads import build_linear_head
from common.models.spec import AutoRates, ModelSpec


def finetune_spec(settings: ModelSettings) -> ModelSpec:
    """Return the model of settings that name a backbone.

    Raises:
        ConfigError: torchvision has no such network, it cannot see images of that size, or its weights, where
            no digest is set that says which they are, cannot be had.
    """
    backbone = backbone_of(settings.name)
    size = finetune_image_size(settings)
    digest = settings.weights_digest
    if not is_pinned(digest):
        digest = load_backbone(backbone, settings.weights).digest
    return ModelSpec(
        name=settings.name,
        summary=f"linear model on frozen features of torchvision's {backbone}",
        image_size=size,
        build=partial(build_head, settings.name),
        front=backbone_front(backbone, weights=settings.weights, digest=digest, image_size=size),
        auto_rates=AutoRates(clipped=15.0, plain=15.0, personal=15.0, always_clipped=True),
    )


def finetune_image_size(settings: ModelSettings) -> int:
    """Return the size of image that a backbone sees: what is set, or what its public weights are for.

    Raises:
        ConfigError: as `finetune_spec`, but for the weights.
    """
    backbone = backbone_of(settings.name)
    size = settings.image_size
    return recipe_of(backbone).image_size if size == "auto" else check_image_size(backbone, size)


def build_head(name: str, num_classes: int) -> nn.Module:
    """Build what is trained; it needs no weights."""
    return build_linear_head((feature_count(backbone_of(name)) + 1,), num_classes, bias=False)


def pinned(config: RunConfig) -> RunConfig:
    """Note in a run's settings which weights its backbone has, so that no others can take their place.

    Raises:
        ConfigError: the weights cannot be had, or are not those that the settings name.
    """
    model = config.model
    if not is_finetune(model.name) or is_pinned(model.weights_digest):
        return config
    finetune_image_size(model)
    digest = load_backbone(backbone_of(model.name), model.weights).digest
    return config.model_copy(update={"model": model.model_copy(update={"weights_digest": digest})})
