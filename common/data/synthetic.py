"""Ten classes of procedurally drawn 32 x 32 images, so that everything runs without a download.

Each image is one bright shape on a dark, noisy ground; colours, place, size and turn are random, so a class
is a shape and nothing simpler. Figures reached on them say nothing about real images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.data.images import DataSplit, ImageData, hold_images
from common.streams import numpy_stream

NUM_TRAIN, NUM_TEST = 12_000, 2_000

_SIDE = 32
_CHUNK = 1_000
_NOISE = 0.08

Field = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """Every pixel's place in its image's turned frame, where the shape spans about -1 to 1.

    Args:
        x, y: float32 [n, 32, 32].
    """

    x: Field
    y: Field


def _disc(plane: _Plane) -> Field:
    return np.hypot(plane.x, plane.y) - np.float32(0.9)


def _ring(plane: _Plane) -> Field:
    return _outline(np.hypot(plane.x, plane.y) - np.float32(0.75), 0.22)


def _square(plane: _Plane) -> Field:
    return _both(np.abs(plane.x), np.abs(plane.y)) - np.float32(0.8)


def _frame(plane: _Plane) -> Field:
    return _outline(_square(plane) + np.float32(0.1), 0.2)


def _triangle(plane: _Plane) -> Field:
    return _both(0.87 * np.abs(plane.x) - 0.5 * plane.y, plane.y) - np.float32(0.5)


def _plus(plane: _Plane) -> Field:
    long, short = np.float32(0.95), np.float32(0.25)
    x, y = np.abs(plane.x), np.abs(plane.y)
    return -_both(-_both(x - long, y - short), -_both(x - short, y - long))


def _cross(plane: _Plane) -> Field:
    half = np.float32(np.sqrt(0.5))
    return _plus(_Plane(x=half * (plane.x + plane.y), y=half * (plane.x - plane.y)))


def _rows(plane: _Plane) -> Field:
    return _stripes(plane.y, plane)


def _columns(plane: _Plane) -> Field:
    return _stripes(plane.x, plane)


def _checkers(plane: _Plane) -> Field:
    return _both(-0.25 * np.sin(4.5 * plane.x) * np.sin(4.5 * plane.y), _square(plane) - np.float32(0.2))


def _stripes(across: Field, plane: _Plane) -> Field:
    return _both(0.2 * np.cos(7.0 * across), _square(plane) - np.float32(0.2))


def _outline(shape: Field, half_width: float) -> Field:
    """Keep the band around a shape's edge."""
    band: Field = np.abs(shape) - np.float32(half_width)
    return band


def _both(one: Field, other: Field) -> Field:
    """Intersect two shapes, each given by its signed distance, negative inside."""
    overlap: Field = np.maximum(one, other)
    return overlap


SHAPES: dict[str, Callable[[_Plane], Field]] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "frame": _frame,
    "triangle": _triangle,
    "plus": _plus,
    "cross": _cross,
    "rows": _rows,
    "columns": _columns,
    "checkers": _checkers,
}


def load_synthetic(*, image_size: int, seed: int) -> DataSplit:
    """Draw 12,000 training and 2,000 test images, classes in equal numbers and mixed order.

    Args:
        image_size: height and width in pixels, to which the drawn 32 are resized.
        seed: equal seeds draw equal images.
    """
    train = draw_images(NUM_TRAIN, numpy_stream(seed, "synthetic/train"), image_size)
    test = draw_images(NUM_TEST, numpy_stream(seed, "synthetic/test"), image_size)
    description = (
        f"synthetic: {NUM_TRAIN} training and {NUM_TEST} test images of procedurally drawn shapes, "
        "no real images; figures say nothing about real data"
    )
    return DataSplit(train=train, test=test, description=description)


def draw_images(count: int, rng: np.random.Generator, image_size: int = _SIDE) -> ImageData:
    """Draw `count` images, the ten classes in turn and then shuffled."""
    labels = rng.permutation(np.arange(count) % len(SHAPES)).astype(np.int64)
    pixels = np.empty((count, 3, _SIDE, _SIDE), dtype=np.uint8)
    for label, shape in enumerate(SHAPES.values()):
        members = np.flatnonzero(labels == label)
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            pixels[chunk] = _draw(shape, len(chunk), rng)
    return hold_images(pixels, labels, tuple(SHAPES), image_size)


def _draw(shape: Callable[[_Plane], Field], count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    radius = rng.uniform(7.0, 11.0, (count, 1, 1)).astype(np.float32)
    distance = shape(_plane(count, radius, rng)) * radius
    mask = np.clip(0.5 - distance, 0.0, 1.0)[:, None]
    ground = rng.uniform(0.0, 0.4, (count, 3, 1, 1)).astype(np.float32)
    ink = rng.uniform(0.5, 1.0, (count, 3, 1, 1)).astype(np.float32)
    noise = _NOISE * rng.standard_normal((count, 3, _SIDE, _SIDE), dtype=np.float32)
    image = ground + (ink - ground) * mask + noise
    pixels: NDArray[np.uint8] = np.rint(255 * np.clip(image, 0.0, 1.0)).astype(np.uint8)
    return pixels


def _plane(count: int, radius: Field, rng: np.random.Generator) -> _Plane:
    centre = rng.uniform(-4.0, 4.0, (2, count, 1, 1)).astype(np.float32)
    turn = rng.uniform(-0.2, 0.2, (count, 1, 1)).astype(np.float32)
    places = np.arange(_SIDE, dtype=np.float32) - np.float32((_SIDE - 1) / 2)
    x, y = places[None, None, :] - centre[0], places[None, :, None] - centre[1]
    cos, sin = np.cos(turn) / radius, np.sin(turn) / radius
    return _Plane(x=cos * x + sin * y, y=cos * y - sin * x)
