"""A folder of images: `train/<class>/*` and, if there is one, `test/<class>/*`.

Files are taken in sorted order, so that record i is the same image on every machine. Without a test/ folder
a tenth of every class is taken out of training, before any client sees it, and treated as public.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from common.data.decoding import decode_images
from common.data.images import DataSplit, ImageData, hold_images
from common.errors import DataError
from common.streams import numpy_stream

_LAYOUT = "put the images in DIR/train/<class>/"
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """The files under train/ or test/: paths relative to the data folder, in label order."""

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def load_folder(data_dir: Path | None, *, image_size: int, seed: int) -> DataSplit:
    """Load a folder of images of any size and mode.

    Args:
        data_dir: holds `train/<class>/*` and perhaps `test/<class>/*`.
        image_size: height and width in pixels to which each image is resized.
        seed: draws the test images where there is no test/.

    Raises:
        DataError: naming what is missing, empty or unreadable.
    """
    root = _existing(data_dir)
    listing = _list_images(root, "train")
    tests = _list_images(root, "test") if (root / "test").is_dir() else None
    if tests is None:
        return _hold_out(_decode(root, listing, image_size), root.name, seed)
    _require_equal_classes(listing.classes, tests.classes)
    train, test = _decode(root, listing, image_size), _decode(root, tests, image_size)
    description = (
        f"folder {root.name!r}: {len(train)} training images of {len(train.classes)} classes; "
        f"the {len(test)} images of its test/ are treated as public"
    )
    return DataSplit(train=train, test=test, description=description)


def load_public(data_dir: Path, *, image_size: int) -> ImageData:
    """Load the test/ of a folder that need hold nothing else: whoever only evaluates needs no records.

    Raises:
        DataError: naming what is missing, empty or unreadable.
    """
    root = data_dir.expanduser().resolve()
    return _decode(root, _list_images(root, "test"), image_size)


def load_records(data_dir: Path, *, image_size: int) -> ImageData:
    """Load every image of a folder's train/, whether or not there is a test/.

    Raises:
        DataError: naming what is missing, empty or unreadable.
    """
    root = _existing(data_dir)
    return _decode(root, _list_images(root, "train"), image_size)


def _existing(data_dir: Path | None) -> Path:
    if data_dir is None:
        raise DataError(f"dataset 'folder' needs --data-dir DIR: {_LAYOUT}")
    root = data_dir.expanduser().resolve()
    if root.is_file():
        raise DataError(f"{str(data_dir)!r} is a file, not a folder of images: {_LAYOUT}")
    if not root.is_dir():
        raise DataError(
            f"data folder {str(data_dir)!r} does not exist: put it back, or name another with --data-dir"
        )
    if not (root / "train").is_dir():
        raise DataError(f"data folder {str(data_dir)!r} has no train/ inside: {_LAYOUT}")
    return root


def _list_images(root: Path, part: str) -> _Listing:
    folders = sorted(name for name in _folders_in(root / part) if _is_visible(name))
    if len(folders) < 2:
        plural = "" if len(folders) == 1 else "s"
        raise DataError(
            f"{root}/{part}/ has {len(folders)} class folder{plural}; two are the least: {_LAYOUT}"
        )
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(folders):
        found = _files_below(root, f"{part}/{name}")
        if not found:
            raise DataError(
                f"class {name!r} has no images in {root}/{part}/{name}/: add some or remove the folder"
            )
        paths += found
        labels += [label] * len(found)
    return _Listing(paths=tuple(paths), labels=np.array(labels, dtype=np.int64), classes=tuple(folders))


def _folders_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_dir()]
    except OSError as error:
        _refuse(error)


def _files_below(root: Path, folder: str) -> list[str]:
    found: list[str] = []
    for directory, subfolders, files in os.walk(root / folder, onerror=_refuse, followlinks=False):
        subfolders[:] = [name for name in subfolders if _is_visible(name)]
        place = Path(directory).relative_to(root)
        found += [(place / name).as_posix() for name in files if _is_visible(name)]
    return sorted(found)


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be read ({error.strerror}): permit reading it") from None


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _SYSTEM_FILES


def _require_equal_classes(train: tuple[str, ...], test: tuple[str, ...]) -> None:
    for missing, where, other in (
        (set(train) - set(test), "test", "train"),
        (set(test) - set(train), "train", "test"),
    ):
        if missing:
            raise DataError(
                f"class {min(missing)!r} is in {other}/ but not in {where}/: both must hold the same classes "
                "(or remove test/, and a tenth of train/ is held out)"
            )


def _decode(root: Path, listing: _Listing, image_size: int) -> ImageData:
    pixels = decode_images(root, listing.paths, image_size=image_size)
    return hold_images(pixels, listing.labels, listing.classes, image_size)


def _hold_out(data: ImageData, name: str, seed: int) -> DataSplit:
    rng = numpy_stream(seed, "data/hold-out")
    labels = data.labels.numpy()
    held = np.sort(np.concatenate([_tenth(labels, label, data, rng) for label in range(len(data.classes))]))
    kept = np.setdiff1d(np.arange(len(data)), held)
    description = (
        f"folder {name!r}: {len(kept)} training images of {len(data.classes)} classes; it has no test/, so "
        f"{len(held)} images (a tenth of each class, seed {seed}) were taken out of training and are treated "
        "as public"
    )
    return DataSplit(train=data.subset(kept), test=data.subset(held), description=description)


def _tenth(
    labels: NDArray[np.int64], label: int, data: ImageData, rng: np.random.Generator
) -> NDArray[np.int64]:
    members = np.flatnonzero(labels == label)
    if len(members) < 2:
        raise DataError(
            f"class {data.classes[label]!r} has a single image, and there is no test/: add images, or a test/"
        )
    return rng.choice(members, size=max(1, round(len(members) / 10)), replace=False)
