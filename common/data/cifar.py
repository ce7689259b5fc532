"""CIFAR-10 and CIFAR-100 by torchvision. Source: Krizhevsky 2009."""

from __future__ import annotations

from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from common.data.images import DataSplit, ImageData, hold_images
from common.downloads import impatient
from common.errors import DataError

_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def default_root() -> Path:
    """Where torchvision's downloads are kept when no folder is named."""
    return Path.home() / ".cache" / "fedledger" / "torchvision"


def load_cifar(dataset: str, data_dir: Path | None, *, image_size: int) -> DataSplit:
    """Load `cifar10` or `cifar100`, downloading it once.

    Raises:
        DataError: it is neither in `data_dir` nor to be downloaded.
    """
    root = data_dir or default_root()
    train, test = _open(dataset, root, train=True), _open(dataset, root, train=False)
    description = (
        f"{_TITLES[dataset]}: {len(train.targets)} training and {len(test.targets)} test images "
        f"of {len(train.classes)} classes, a public benchmark standing in for private data"
    )
    return DataSplit(train=_held(train, image_size), test=_held(test, image_size), description=description)


def _held(source: Any, image_size: int) -> ImageData:
    labels = np.asarray(source.targets, dtype=np.int64)
    pixels = np.ascontiguousarray(source.data.transpose(0, 3, 1, 2))
    return hold_images(pixels, labels, tuple(source.classes), image_size)


def _open(dataset: str, root: Path, *, train: bool) -> Any:
    from torchvision.datasets import CIFAR10, CIFAR100  # costs seconds, which other data sets save

    kind = {"cifar10": CIFAR10, "cifar100": CIFAR100}[dataset]
    try:
        return kind(str(root), train=train, download=False)
    except RuntimeError:  # torchvision's word for "not there"
        return _download(kind, dataset, root, train=train)


def _download(kind: Any, dataset: str, root: Path, *, train: bool) -> Any:
    try:
        with impatient():
            return kind(str(root), train=train, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DataError(
            f"{_TITLES[dataset]} is not in {root} and could not be downloaded ({type(error).__name__}): "
            "use --dataset folder --data-dir DIR for images of your own, or --dataset synthetic"
        ) from error
