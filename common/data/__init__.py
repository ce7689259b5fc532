"""Data sets, their partitions over clients, and the transforms of whole batches."""

from __future__ import annotations

from common.data.catalog import DATASETS, load_data
from common.data.images import DataSplit, ImageData, Images, Records
from common.data.partitioners import PARTITIONERS, label_counts, partition
from common.data.transforms import AUGMENTATIONS, BatchTransform

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "PARTITIONERS",
    "BatchTransform",
    "DataSplit",
    "ImageData",
    "Images",
    "Records",
    "label_counts",
    "load_data",
    "partition",
]
