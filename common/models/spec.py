"""What the registry says of one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from common.models.front import Front


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
