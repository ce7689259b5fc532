"""Augment and normalise whole batches of images on the training device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from common.names import require_known

AUGMENTATIONS: tuple[str, ...] = ("none", "flip", "flip-crop")

_PADDING = 4
# Public constants: statistics of private images would be one more release to charge.
MEAN, STD = 0.5, 0.25
"""What is taken from pixels between 0 and 1, and what they are divided by then."""


@dataclass(frozen=True, kw_only=True)
class BatchTransform:
    """Turn bytes into the network's input.

    Args:
        augmentation: `none`, `flip` (left-right, one image in two) or `flip-crop` (also a random crop after
            padding by 4 black pixels).
        device: where the batch is wanted.

    Raises:
        ConfigError: the augmentation is not one of `AUGMENTATIONS`.
    """

    augmentation: str
    device: torch.device

    def __post_init__(self) -> None:
        require_known("augmentation", self.augmentation, AUGMENTATIONS)

    def __call__(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Transform one batch.

        Args:
            images: uint8 [batch, 3, height, width]; the batch may be empty.
            generator: decides the augmentation; without one the images are normalised only, as in evaluation.

        Returns:
            float32 [batch, 3, height, width] in [-2, 2].
        """
        images = images.to(self.device, non_blocking=True)
        if generator is not None and self.augmentation != "none":
            images = self._augment(images, generator)
        return images.float().div_(255 * STD).sub_(MEAN / STD)

    def _augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Gather each output pixel from where its image's flip and shift put it."""
        batch, channels, height, width = images.shape
        padding = _PADDING if self.augmentation == "flip-crop" else 0
        flips, down, right = draw_choices(
            (2, 2 * padding + 1, 2 * padding + 1), batch, generator, images.device
        )
        columns = torch.arange(width, device=images.device).expand(batch, width)
        columns = torch.where(flips.bool(), columns.flip(1), columns) + right
        rows = torch.arange(height, device=images.device) + down
        places = rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]
        planes = functional.pad(images, [padding] * 4).flatten(2)
        taken = planes.gather(2, places.flatten(1)[:, None].expand(-1, channels, -1))
        return taken.view(images.shape)


def draw_choices(
    numbers: tuple[int, ...], batch: int, generator: torch.Generator, device: torch.device
) -> list[Tensor]:
    """Draw, for each number k, int64 [batch, 1] uniform in [0, k).

    Image by image, so that a batch in several pieces is augmented like one in a single piece.
    """
    drawn = torch.randint(2**53, (batch, len(numbers)), generator=generator, device=generator.device)
    return [column % k for k, column in zip(numbers, torch.split(drawn.to(device), 1, dim=1), strict=True)]
