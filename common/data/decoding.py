"""Image files to arrays of bytes, on several threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from common.errors import DataError

# Small images hold the interpreter's lock most of the time: a task of one image costs more than it gains.
_IMAGES_PER_TASK = 128
_MAX_THREADS = 8


def decode_images(root: Path, paths: Sequence[str], *, image_size: int) -> NDArray[np.uint8]:
    """Decode and resize image files.

    Args:
        root: the folder to which `paths` are relative.
        paths: the files, in the wanted order.
        image_size: height and width in pixels of the result.

    Returns:
        uint8 [n, 3, image_size, image_size].

    Raises:
        DataError: naming the first file, in order, that is not a readable image.
    """
    pixels = np.empty((len(paths), 3, image_size, image_size), dtype=np.uint8)
    starts = range(0, len(paths), _IMAGES_PER_TASK)
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        for _ in pool.map(partial(_decode_slice, root, paths, pixels), starts):
            pass
    return pixels


def decode_image(path: Path, *, image_size: int) -> NDArray[np.uint8]:
    """Decode and resize one image file, to uint8 [3, image_size, image_size].

    Raises:
        DataError: naming it, where it is not a readable image.
    """
    return _decode(path, str(path), image_size).transpose(2, 0, 1)


def _decode_slice(root: Path, paths: Sequence[str], pixels: NDArray[np.uint8], start: int) -> None:
    for index in range(start, min(start + _IMAGES_PER_TASK, len(paths))):
        pixels[index] = _decode(root / paths[index], paths[index], pixels.shape[-1]).transpose(2, 0, 1)


def _decode(file: Path, path: str, size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            image.draft("RGB", (2 * size, 2 * size))  # lets JPEG skip detail that resizing throws away
            ImageOps.exif_transpose(image, in_place=True)
            return _fit(_as_rgb(image), size)
    except PermissionError:
        raise DataError(f"{path} must not be read: permit reading it, or remove it") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image: remove it or replace it") from error


def _fit(rgb: Image.Image, size: int) -> NDArray[np.uint8]:
    """Return uint8 [size, size, 3], stretched where the image is no square."""
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(rgb)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to white
        grey = np.clip(np.asarray(image), 0, 65535) >> 8
        image = Image.fromarray(grey.astype(np.uint8))
    return image.convert("RGB")
