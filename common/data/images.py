"""Images held in memory as bytes, with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


class Records(Protocol):
    """Labelled records in the form in which a model takes them: images, or a frozen front's features."""

    def __len__(self) -> int:
        """Return the number of records, n."""

    @property
    def inputs(self) -> Tensor:
        """One entry a record, [n, ...]."""

    @property
    def labels(self) -> Tensor:
        """int64 [n], on the CPU."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, in label order."""

    def take(self, numbers: Tensor) -> Tensor:
        """Copy the inputs of the records with these numbers, int64 [m], to [m, ...]."""


class Images(Records, Protocol):
    """Records that are images."""

    @property
    def images(self) -> Tensor:
        """uint8 [n, 3, height, width], on the CPU."""


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """Labelled images of one size.

    Args:
        images: uint8 [n, 3, height, width], on the CPU.
        labels: int64 [n], each in [0, len(classes)).
        classes: the classes' names, in label order.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> Tensor:
        """What a model is given of each record, before its batch is transformed."""
        return self.images

    def take(self, numbers: Tensor) -> Tensor:
        """Copy the images with these numbers."""
        return self.images[numbers]

    def subset(self, indices: NDArray[np.int64]) -> ImageData:
        """Copy the records at `indices` (int64 [m]), in that order."""
        chosen = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return ImageData(images=self.images[chosen], labels=self.labels[chosen], classes=self.classes)

    def share(self, indices: NDArray[np.int64]) -> ImageShare:
        """Return the records at `indices` (int64 [m]), in that order, left where they are."""
        return ImageShare(whole=self, rows=torch.from_numpy(np.asarray(indices, dtype=np.int64)))


@dataclass(frozen=True, kw_only=True)
class ImageShare:
    """Some of the images, left where they are: clients of one process divide its memory as they divide data.

    Args:
        whole: all of them.
        rows: which are meant, int64 [n].
    """

    whole: ImageData
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:
        """A copy of the images, made each time."""
        return self.whole.images[self.rows]

    @property
    def inputs(self) -> Tensor:
        """A copy of the images, made each time."""
        return self.images

    @cached_property
    def labels(self) -> Tensor:
        """int64 [n], on the CPU."""
        return self.whole.labels[self.rows]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, in label order."""
        return self.whole.classes

    def take(self, numbers: Tensor) -> Tensor:
        """Copy the images with these numbers."""
        return self.whole.images[self.rows[numbers]]


@dataclass(frozen=True, kw_only=True)
class DataSplit:
    """Training images, to be divided over the clients, and the server's public test images.

    Args:
        train: the records that training charges for.
        test: images treated as public.
        description: one sentence for screen and report saying what data this is.
    """

    train: ImageData
    test: ImageData
    description: str


def hold_images(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...], image_size: int
) -> ImageData:
    """Hold arrays as `ImageData`, resized where the size differs.

    Args:
        pixels: uint8 [n, 3, height, width].
        labels: int64 [n].
        classes: the classes' names, in label order.
        image_size: wanted height and width in pixels.
    """
    images = torch.from_numpy(pixels)
    if images.shape[-2:] != (image_size, image_size):
        images = functional.interpolate(
            images, size=(image_size, image_size), mode="bilinear", antialias=True, align_corners=False
        )
    return ImageData(images=images, labels=torch.from_numpy(labels), classes=classes)
