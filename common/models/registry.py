"""The models by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from common.models.front import Front
from common.models.heads import build_convolutional_head, build_linear_head
from common.models.lenet import build_lenet
from common.models.patches.front import IMAGE_SIZE as PATCHES_IMAGE_SIZE
from common.models.patches.front import PATCHES
from common.models.safety import refuse_unsafe_layers
from common.models.scattering.front import IMAGE_SIZE, SCATTERING
from common.models.small import build_small, build_small_from_patches
from common.models.tempered import build_tempered
from common.names import require_known


@dataclass(frozen=True, kw_only=True)
class AutoRates:
    """What learning-rate = "auto" means for a model.

    Tried at default settings for `cnn` and `patch-linear`; a first guess for the others. `personal` was tried
    for `cnn-patches` and `patch-linear`.

    Args:
        clipped: with privacy, for a clip of 1.
        plain: without privacy, where gradients are not clipped.
        personal: of a personal model, which goes on from a trained one in batches of 32.
        always_clipped: whether gradients exceed any usual clip, so that a step follows the clip, and the
            rate has to make up for it.
    """

    clipped: float
    plain: float
    personal: float = 0.05
    always_clipped: bool = False

    def rate(self, max_grad_norm: float | None) -> float:
        """Return the learning rate for a clip, or for training without privacy (None)."""
        if max_grad_norm is None:
            return self.plain
        return self.clipped / max_grad_norm if self.always_clipped else self.clipped


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of the registry.

    Args:
        name: as in the settings.
        summary: one line for help texts and reports.
        image_size: height and width in pixels of its input.
        build: makes what is trained, freshly initialised, for a number of classes.
        front: frozen function whose features it takes in place of images; None for images themselves.
        auto_rates: its learning rates where the settings name none.
    """

    name: str
    summary: str
    image_size: int
    build: Callable[[int], nn.Module]
    front: Front | None = None
    auto_rates: AutoRates = AutoRates(clipped=1.2, plain=0.15)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what `build`'s network takes of one record."""
        return self.front.output_shape if self.front else (3, self.image_size, self.image_size)


_FILTERS = 64

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
    """Look up a model.

    Raises:
        ConfigError: the name is unknown; the message holds the nearest one.
    """
    return MODELS[require_known("model", name, MODELS)]


def build_model(name: str, *, num_classes: int) -> nn.Module:
    """Build a model, freshly initialised from torch's global random state.

    Raises:
        ConfigError: the name is unknown, or the model has a layer that DP-SGD must refuse.
    """
    model = model_spec(name).build(num_classes)
    refuse_unsafe_layers(model)
    return model
