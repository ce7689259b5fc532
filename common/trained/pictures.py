"""Image files as people name them, each of which may turn out to be none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.data.decoding import decode_image
from common.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image file, read.

    Args:
        path: as it was named.
        pixels: uint8 [3, height, width], resized to what the model takes; None where it cannot be read.
        problem: why it cannot be read, and the way out; empty where it can.
    """

    path: str
    pixels: Tensor | None = None
    problem: str = ""


def read_pictures(places: Iterable[Path], *, image_size: int) -> Iterator[Picture]:
    """Read images one after the other, and those of folders in sorted order with all folders inside.

    Args:
        places: files and folders; hidden files in a folder are passed over.
        image_size: height and width in pixels to which each image is resized.
    """
    for place in places:
        try:
            yield from _read_place(place, image_size)
        except OSError as error:
            problem = f"{place} cannot be read ({error.strerror}): permit reading it, or name another"
            yield Picture(path=str(place), problem=problem)


def _read_place(place: Path, image_size: int) -> Iterator[Picture]:
    paths = _files_below(place) if place.is_dir() else [place]
    if not paths:
        yield Picture(path=str(place), problem=f"{place} holds no files: name a folder of images")
    for path in paths:
        yield _read(path, image_size)


def _files_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _read(path: Path, image_size: int) -> Picture:
    if not path.exists():
        problem = f"{path} does not exist: name an image, or a folder of images"
        return Picture(path=str(path), problem=problem)
    try:
        return Picture(path=str(path), pixels=torch.tensor(decode_image(path, image_size=image_size)))
    except DataError as error:
        return Picture(path=str(path), problem=str(error))
