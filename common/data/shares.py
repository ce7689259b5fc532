"""The images of a run's settings and each client's share of them, loaded once a process."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.config import DataSettings, RunConfig
from common.data import DataSplit, ImageData, load_data, partition
from common.data.features import Preparation
from common.data.folder import load_public
from common.device import resolve_device
from common.models import image_size_of

_loading = threading.RLock()


def preparation_of(config: RunConfig, *, augmentation: str | None = None) -> Preparation:
    """Return what becomes of images under some settings before a model sees them.

    Args:
        augmentation: another than the settings name, such as `none` for evaluation.

    Raises:
        ConfigError: when model and augmentation do not go together, or the device is not there.
    """
    return Preparation(
        model=config.model,
        augmentation=config.data.augmentation if augmentation is None else augmentation,
        device=resolve_device(config.runtime.device),
        workers=config.runtime.num_workers,
        cache=config.runtime.feature_cache,
    )


def split_of(config: RunConfig) -> DataSplit:
    """Return the images that the settings name, resized for the model.

    Raises:
        DataError: when they cannot be read.
    """
    with _loading:
        return _split(config.data, image_size_of(config.model), config.runtime.seed)


def public_images_of(config: RunConfig) -> ImageData:
    """Return the test images that the settings name; a folder of nothing but test/ is enough for them.

    Raises:
        DataError: when they cannot be read.
    """
    place = Path(config.data.data_dir).expanduser()
    if config.data.dataset == "folder" and (place / "test").is_dir() and not (place / "train").exists():
        return load_public(place, image_size=image_size_of(config.model))
    return split_of(config).test


def shares_of(config: RunConfig) -> list[NDArray[np.int64]]:
    """Return each client's record numbers in the training images; disjoint, and together all of them.

    Raises:
        DataError: when a client would hold too few records.
    """
    image_size = image_size_of(config.model)
    with _loading:
        return _shares(config.data, image_size, config.runtime.seed, config.federation.num_clients)


@lru_cache(maxsize=1)
def _split(data: DataSettings, image_size: int, seed: int) -> DataSplit:
    place = Path(data.data_dir).expanduser() if data.data_dir else None
    return load_data(data.dataset, data_dir=place, image_size=image_size, seed=seed)


@lru_cache(maxsize=1)
def _shares(data: DataSettings, image_size: int, seed: int, clients: int) -> list[NDArray[np.int64]]:
    return partition(
        _split(data, image_size, seed).train.labels.numpy(),
        partitioner=data.partitioner,
        num_partitions=clients,
        seed=seed,
        alpha=data.alpha,
        classes_per_client=data.classes_per_client,
        min_partition_size=data.min_partition_size,
    )
