from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.decoding import decode_images
from common.errors import DataError


def _decoded(folder: Path, image: Image.Image, name: str = "a.png", **options: object) -> list[list[int]]:
    """Return the colour of each corner of the image decoded to 8 x 8: top left, top right, bottom left."""
    image.save(folder / name, **options)
    pixels = decode_images(folder, [name], image_size=8)
    assert pixels.shape == (1, 3, 8, 8)
    assert pixels.dtype == np.uint8
    return [pixels[0, :, row, column].tolist() for row, column in ((0, 0), (0, 7), (7, 0))]


def _left_red(size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1]))
    return image


RED, BLUE = [255, 0, 0], [0, 0, 255]


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (50, 20), (4, 6)])
def test_any_size_is_stretched_to_the_square(tmp_path: Path, size: tuple[int, int]) -> None:
    assert _decoded(tmp_path, _left_red(size)) == [RED, BLUE, RED]


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_palettes_and_transparency_become_rgb(tmp_path: Path, mode: str) -> None:
    assert _decoded(tmp_path, _left_red((16, 16)).convert(mode)) == [RED, BLUE, RED]


def test_grey_is_repeated_over_the_channels(tmp_path: Path) -> None:
    assert _decoded(tmp_path, Image.new("L", (9, 9), 77))[0] == [77, 77, 77]


def test_sixteen_bit_grey_keeps_its_upper_byte(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((8, 8), 0x2AFF, dtype=np.uint16))
    assert _decoded(tmp_path, deep)[0] == [0x2A, 0x2A, 0x2A]


def test_a_photo_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the right side of the scene is at the top: turn clockwise
    assert _decoded(tmp_path, _left_red((8, 8)), exif=exif) == [RED, RED, BLUE]


def test_a_large_jpeg_is_decoded_to_the_same_picture(tmp_path: Path) -> None:
    corners = _decoded(tmp_path, _left_red((800, 600)), name="a.jpg", quality=95)
    assert np.abs(np.array(corners) - [RED, BLUE, RED]).max() <= 8


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^lost\.png is not a readable image"):
        decode_images(tmp_path, ["lost.png"], image_size=8)


def test_the_first_bad_file_in_order_is_named(tmp_path: Path) -> None:
    names = [f"{index:04d}.png" for index in range(300)]
    with pytest.raises(DataError, match=r"^0000\.png is not"):
        decode_images(tmp_path, names, image_size=8)


def test_an_image_that_must_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"^a\.png must not be read: permit reading it, or remove it$"):
        decode_images(tmp_path, ["a.png"], image_size=32)
