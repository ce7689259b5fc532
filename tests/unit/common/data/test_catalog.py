from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.data import DATASETS, load_data
from common.errors import ConfigError


def test_the_data_sets_are_four() -> None:
    assert DATASETS == ("cifar10", "cifar100", "folder", "synthetic")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown dataset 'cifar-10': did you mean 'cifar10'"):
        load_data("cifar-10", data_dir=None)


@pytest.mark.parametrize("size", [7, 1025, -1])
def test_an_image_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"image size {size} is out of range: choose 8 to 1024"):
        load_data("synthetic", data_dir=None, image_size=size)


def test_synthetic_images_come_in_the_asked_size() -> None:
    split = load_data("synthetic", data_dir=Path("unused"), image_size=8)
    assert split.train.images.shape == (12_000, 3, 8, 8)
    assert split.train.images.dtype == torch.uint8
    assert split.train.labels.dtype == torch.int64
