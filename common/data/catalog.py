"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from common.data.cifar import load_cifar
from common.data.folder import load_folder
from common.data.images import DataSplit
from common.data.synthetic import load_synthetic
from common.errors import ConfigError
from common.names import require_known

_MIN_SIZE, _MAX_SIZE = 8, 1024

_LOADERS: dict[str, Callable[[Path | None, int, int], DataSplit]] = {
    "cifar10": lambda data_dir, size, _seed: load_cifar("cifar10", data_dir, image_size=size),
    "cifar100": lambda data_dir, size, _seed: load_cifar("cifar100", data_dir, image_size=size),
    "folder": lambda data_dir, size, seed: load_folder(data_dir, image_size=size, seed=seed),
    "synthetic": lambda _data_dir, size, seed: load_synthetic(image_size=size, seed=seed),
}

DATASETS: tuple[str, ...] = tuple(_LOADERS)


def load_data(dataset: str, *, data_dir: Path | None, image_size: int = 32, seed: int = 0) -> DataSplit:
    """Load a data set into memory.

    Args:
        dataset: one of `DATASETS`.
        data_dir: the folder of images (`folder`) or of torchvision's downloads (`cifar10`, `cifar100`; by
            default ~/.cache/fedledger/torchvision).
        image_size: height and width in pixels, 8 to 1024; images of another size are resized.
        seed: draws the synthetic images, and the test images of a folder that has no test/.

    Raises:
        ConfigError: the name or the image size is not valid.
        DataError: the images cannot be had or read.
    """
    require_known("dataset", dataset, DATASETS)
    if not _MIN_SIZE <= image_size <= _MAX_SIZE:
        raise ConfigError(
            f"image size {image_size} is out of range: choose {_MIN_SIZE} to {_MAX_SIZE} pixels (usual: 32)"
        )
    return _LOADERS[dataset](data_dir, image_size, seed)
