"""One picture of images, their predictions, and heat maps laid over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from common.trained.predicting import Likely

_CELL, _GAP, _TEXT_WIDTH, _HEAD, _FOOT = 160, 12, 230, 34, 30
_INK, _PALE, _PAPER = (27, 31, 36), (99, 108, 118), (255, 255, 255)
_STOPS = np.array([[20, 11, 53], [120, 28, 109], [237, 105, 37], [252, 255, 164]], dtype=np.float32)
"""From cold to hot: dark violet, purple, orange, pale yellow, each lighter than the one before."""

_LEAST, _MOST = 0.15, 0.8
_LONGEST_LINE = 32


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image and what explains its prediction.

    Args:
        title: of the image.
        pixels: uint8 [3, height, width].
        likely: its most probable classes, the explained one first.
        heat: one map a method, float32 [height, width] in [0, 1].
    """

    title: str
    pixels: Tensor
    likely: tuple[Likely, ...]
    heat: tuple[Tensor, ...]


def draw_sheet(rows: Sequence[Row], methods: Sequence[str], footer: str) -> Image.Image:
    """Draw a row an image: its prediction, itself, and itself under each heat map.

    Args:
        rows: images, at least one.
        methods: names of the heat maps, in the rows' order.
        footer: a line below.
    """
    columns = 1 + len(methods)
    width = _TEXT_WIDTH + columns * (_CELL + _GAP) + _GAP
    sheet = Image.new("RGB", (width, _HEAD + len(rows) * (_CELL + _GAP) + _FOOT), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(("image", *methods)):
        draw.text((_left(column), 10), name, _PALE, font=_font(14))
    for number, row in enumerate(rows):
        _draw_row(sheet, draw, row, _HEAD + number * (_CELL + _GAP))
    draw.text((_GAP, sheet.height - _FOOT + 4), footer, _PALE, font=_font(12))
    return sheet


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    draw.text((_GAP, top + 6), _shortened(row.title), _PALE, font=_font(12))
    for number, one in enumerate(row.likely):
        text = f"{_shortened(one.name, 18)} {100 * one.probability:.1f} %"
        size, ink = (18, _INK) if number == 0 else (13, _PALE)
        draw.text((_GAP, top + 30 + (30 + 20 * (number - 1) if number else 0)), text, ink, font=_font(size))
    pixels: NDArray[np.uint8] = row.pixels.cpu().permute(1, 2, 0).numpy()
    sheet.paste(_enlarged(pixels), (_left(0), top))
    for column, heat in enumerate(row.heat, start=1):
        sheet.paste(_enlarged(overlay(pixels, heat)), (_left(column), top))


def overlay(pixels: NDArray[np.uint8], heat: Tensor) -> NDArray[np.uint8]:
    """Lay a heat map over an image made grey, so that the colour is the map's.

    Args:
        pixels: uint8 [height, width, 3].
        heat: float32 [height, width] in [0, 1].
    """
    values = heat.numpy()
    places = np.arange(len(_STOPS)) / (len(_STOPS) - 1)
    colours = np.stack([np.interp(values, places, _STOPS[:, channel]) for channel in range(3)], axis=-1)
    grey = pixels.mean(axis=-1, keepdims=True)
    weight = (_LEAST + (_MOST - _LEAST) * values)[..., None]
    mixed: NDArray[np.uint8] = np.rint((1 - weight) * grey + weight * colours).astype(np.uint8)
    return mixed


def _enlarged(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels).resize((_CELL, _CELL), Image.Resampling.NEAREST)


def _left(column: int) -> int:
    return _TEXT_WIDTH + column * (_CELL + _GAP)


def _shortened(text: str, longest: int = _LONGEST_LINE) -> str:
    """Keep the end of a long text, where a path says most."""
    return text if len(text) <= longest else f"...{text[3 - longest :]}"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
