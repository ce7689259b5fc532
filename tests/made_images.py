"""Folders of made-up images: the same noise every time, of any brightness or of one that tells the class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def make_images(
    root: Path, parts: Mapping[str, int], *, classes: Sequence[str] = ("cat", "dog"), told_apart: bool = False
) -> Path:
    """Write images of 32 x 32 pixels as `root/<part>/<class>/<number>.png` and return the root.

    Args:
        parts: images of each class, by the part's name, such as train or test.
        told_apart: whether a class is as bright as no other.
    """
    generator = np.random.default_rng(0)
    for part, count in parts.items():
        for number, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True)
            least, most = (80 * number, 80 * number + 90) if told_apart else (0, 256)
            for image in range(count):
                pixels = generator.integers(least, most, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{image:02d}.png")
    return root
