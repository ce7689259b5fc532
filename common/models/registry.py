"""The models by name."""

from __future__ import annotations

from functools import partial

from torch import nn

from common.config import ModelSettings
from common.models.finetune.backbone import EXAMPLE, PREFIX, backbones, is_finetune
from common.models.finetune.model import build_head, finetune_image_size, finetune_spec
from common.models.heads import build_convolutional_head, build_linear_head
from common.models.lenet import build_lenet
from common.models.patches.front import IMAGE_SIZE as PATCHES_IMAGE_SIZE
from common.models.patches.front import PATCHES
from common.models.residual import build_resnet
from common.models.safety import refuse_unsafe_layers
from common.models.scattering.front import IMAGE_SIZE, SCATTERING
from common.models.small import build_small, build_small_from_patches
from common.models.spec import AutoRates, ModelSpec
from common.models.tempered import build_tempered
from common.models.wide import build_wide_resnet
from common.names import require_known

_FILTERS = 64
_DEEP_RATES = AutoRates(clipped=0.4, plain=0.03, always_clipped=True)
"""With the server's momentum of 0.9, clipped steps lead as far as at De et al.'s rate of 4 without any."""

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="cnn",
            summary="LeNet of PyTorch's CIFAR-10 tutorial, ReLU, 62,006 parameters",
            image_size=32,
            build=build_lenet,
        ),
        ModelSpec(
            name="cnn-tanh",
            summary="tempered-sigmoid network of Papernot et al. 2021 with GroupNorm, 551,466 parameters",
            image_size=32,
            build=build_tempered,
        ),
        ModelSpec(
            name="cnn-small",
            summary="one wide convolution with thresholds, made for training under noise, 15,242 parameters",
            image_size=32,
            build=partial(build_small, filters=_FILTERS),
        ),
        ModelSpec(
            name="cnn-patches",
            summary="cnn-small whose convolution begins with public patches and is trained, too; "
            "15,242 parameters",
            image_size=32,
            build=partial(build_small_from_patches, filters=_FILTERS),
        ),
        ModelSpec(
            name="resnet-gn",
            summary="ResNet-20 of He et al. 2016 with GroupNorm, 269,722 parameters",
            image_size=32,
            build=build_resnet,
            auto_rates=_DEEP_RATES,
        ),
        ModelSpec(
            name="wrn-16-4",
            summary="Wide ResNet 16-4 with GroupNorm and standardised weights (De et al. 2022), "
            "2,753,818 parameters",
            image_size=32,
            build=build_wide_resnet,
            auto_rates=_DEEP_RATES,
        ),
        ModelSpec(
            name="patch-linear",
            summary="linear model on frozen features of patches, the most accurate under noise; "
            "46,090 parameters",
            image_size=PATCHES_IMAGE_SIZE,
            build=partial(build_linear_head, PATCHES.output_shape, bias=False),
            front=PATCHES,
            auto_rates=AutoRates(clipped=15.0, plain=15.0, personal=15.0, always_clipped=True),
        ),
        ModelSpec(
            name="scatter-linear",
            summary="linear model on frozen scattering features (Tramer and Boneh 2021), 155,530 parameters",
            image_size=IMAGE_SIZE,
            build=partial(build_linear_head, SCATTERING.output_shape),
            front=SCATTERING,
            auto_rates=AutoRates(clipped=0.25, plain=0.002, personal=0.002, always_clipped=True),
        ),
        ModelSpec(
            name="scatter-cnn",
            summary="small tanh network on frozen scattering features (Tramer and Boneh 2021), "
            "187,210 parameters",
            image_size=IMAGE_SIZE,
            build=partial(build_convolutional_head, SCATTERING.output_shape),
            front=SCATTERING,
        ),
    )
}


def model_spec(name: str) -> ModelSpec:
    """Look up a model, with the other settings of models at their defaults.

    Raises:
        ConfigError: the name is unknown; the message holds the nearest one.
    """
    return spec_of(ModelSettings(name=name))


def spec_of(settings: ModelSettings) -> ModelSpec:
    """Return the model that settings name.

    Raises:
        ConfigError: the name is unknown, or the weights of a backbone cannot be had.
    """
    if is_finetune(settings.name):
        return finetune_spec(settings)
    if settings.name in MODELS:
        return MODELS[settings.name]
    example = f"{PREFIX}{settings.name}" if settings.name in backbones() else EXAMPLE
    return MODELS[require_known("model", settings.name, [*MODELS, example])]


def image_size_of(settings: ModelSettings) -> int:
    """Return height and width in pixels of what a model sees; no weights are needed to know.

    Raises:
        ConfigError: the name is unknown, or the model cannot see images of the size that is set.
    """
    if is_finetune(settings.name):
        return finetune_image_size(settings)
    return spec_of(settings).image_size


def build_model(name: str, *, num_classes: int) -> nn.Module:
    """Build what is trained of a model, freshly initialised from torch's global random state.

    Raises:
        ConfigError: the name is unknown, or the model has a layer that DP-SGD must refuse.
    """
    model = build_head(name, num_classes) if is_finetune(name) else model_spec(name).build(num_classes)
    refuse_unsafe_layers(model)
    return model
