"""Whose images a personal model is for: a site's own folder, or one client's of a simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.audit.evaluation import Partitions
from common.audit.reading import read_optional
from common.data import ImageData
from common.data.folder import load_records
from common.data.shares import shares_of, split_of
from common.errors import ConfigError, DataError
from common.trained.classes import in_order_of
from common.trained.loading import TrainedModel


def images_of_site(trained: TrainedModel, data_dir: Path) -> ImageData:
    """Load the images of a site's own folder, DIR/train/<class>/*, numbered by the model's classes.

    Raises:
        DataError: when there are none, or their classes are not the model's.
    """
    images = load_records(data_dir, image_size=trained.spec.image_size)
    return in_order_of(
        trained.classes, images, whose="these images", way_out="name the folders in train/ like them"
    )


def images_of_client(trained: TrainedModel, client: int) -> ImageData:
    """Load the images of one client of a simulation.

    Raises:
        ConfigError: when the run is no simulation, or has no such client.
        DataError: when the images are not those of the run.
    """
    known = read_optional(trained.folder.partitions, Partitions)
    if known is None:
        raise ConfigError(
            f"{trained.folder.root.name} is not of a simulation (it has no partitions.json), so there are no "
            "images of clients: give --data-dir DIR"
        )
    if not 0 <= client < len(known.counts):
        raise ConfigError(
            f"--client {client} is not permitted: the run has clients 0 to {len(known.counts) - 1}"
        )
    images = split_of(trained.config).train.subset(shares_of(trained.config)[client])
    counts = np.bincount(images.labels.numpy(), minlength=len(images.classes))
    if images.classes != known.classes or tuple(counts.tolist()) != known.counts[client]:
        raise DataError(f"the images are no longer those that client {client} held: put them back")
    return images
