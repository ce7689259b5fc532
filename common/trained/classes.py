"""Classes of images and of a model, which may come in different orders."""

from __future__ import annotations

from dataclasses import replace

import torch

from common.data import ImageData
from common.errors import DataError


def in_order_of(classes: tuple[str, ...], images: ImageData, *, whose: str, way_out: str) -> ImageData:
    """Number images by a model's classes: folders come in alphabetical order, a model's may not.

    Args:
        classes: the model's, in label order.
        images: their classes must be the same names.
        whose: what the images are, for the error.
        way_out: what to do about it, for the error.

    Raises:
        DataError: when one of them has a class that the other lacks.
    """
    strange = sorted(set(images.classes) ^ set(classes))
    if strange:
        raise DataError(f"the classes of {whose} are not the model's ({strange[0]!r}): {way_out}")
    places = torch.tensor([classes.index(name) for name in images.classes])
    return replace(images, labels=places[images.labels], classes=classes)
