from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets

from common.data import load_data
from common.errors import DataError


class _Stored:
    """Stands in for torchvision's class where the files are already on the disk."""

    classes = ("cat", "dog")
    roots: list[str] = []  # noqa: RUF012

    def __init__(self, root: str, *, train: bool, download: bool) -> None:
        self.roots.append(root)
        count = 4 if train else 2
        self.targets = [index % 2 for index in range(count)]
        self.data = np.zeros((count, 32, 32, 3), dtype=np.uint8)
        self.data[1, 2, 3] = (10, 20, 30)


def test_pixels_are_held_channels_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", _Stored)
    split = load_data("cifar10", data_dir=Path("somewhere"))
    assert split.train.images.shape == (4, 3, 32, 32)
    assert split.train.images[1, :, 2, 3].tolist() == [10, 20, 30]
    assert split.train.labels.tolist() == [0, 1, 0, 1]
    assert split.test.classes == ("cat", "dog")
    assert split.description.startswith("CIFAR-10: 4 training and 2 test images of 2 classes")


def test_downloads_are_kept_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torchvision.datasets, "CIFAR100", _Stored)
    monkeypatch.setenv("HOME", str(tmp_path))
    load_data("cifar100", data_dir=None)
    assert _Stored.roots[-1] == str(tmp_path / ".cache/fedledger/torchvision")


@pytest.mark.parametrize("failure", [URLError("no network"), RuntimeError("corrupted"), TimeoutError()])
def test_a_failed_download_is_one_line_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failure: Exception
) -> None:
    def absent(root: str, *, train: bool, download: bool) -> Any:
        raise failure if download else RuntimeError("Dataset not found or corrupted.")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", absent)
    with pytest.raises(DataError) as caught:
        load_data("cifar10", data_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"CIFAR-10 is not in {tmp_path} and could not be downloaded")
    assert "--dataset folder --data-dir DIR" in message
    assert "--dataset synthetic" in message
    assert "\n" not in message
