from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from common.data import BatchTransform
from common.errors import ConfigError

CPU = torch.device("cpu")


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _copies(count: int) -> Tensor:
    """Repeat one image of which every pixel, flip and shift is told apart."""
    image = torch.randint(1, 256, (1, 3, 6, 6), generator=_generator(9), dtype=torch.uint8)
    return image.repeat(count, 1, 1, 1)


def _in_bytes(batch: Tensor) -> Tensor:
    return (batch + 2).mul(63.75).round().to(torch.uint8)


def test_bytes_are_normalised_by_public_constants() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    batch = BatchTransform(augmentation="none", device=CPU)(images, None)
    assert batch.dtype == torch.float32
    assert batch.flatten().tolist() == pytest.approx([-2.0, -1.2, 2.0])


@pytest.mark.parametrize("augmentation", ["none", "flip", "flip-crop"])
def test_without_a_generator_nothing_is_augmented(augmentation: str) -> None:
    images = _copies(16)
    assert torch.equal(_in_bytes(BatchTransform(augmentation=augmentation, device=CPU)(images, None)), images)


def test_no_augmentation_ignores_the_generator() -> None:
    images = _copies(16)
    assert torch.equal(
        _in_bytes(BatchTransform(augmentation="none", device=CPU)(images, _generator())), images
    )


def test_flip_turns_one_image_in_two() -> None:
    images = _copies(400)
    flipped = images.flip(3)
    batch = _in_bytes(BatchTransform(augmentation="flip", device=CPU)(images, _generator()))
    turned = (batch == flipped).flatten(1).all(dim=1)
    kept = (batch == images).flatten(1).all(dim=1)
    assert torch.all(turned ^ kept)
    assert 160 < int(turned.sum()) < 240


def test_crop_shifts_by_up_to_four_black_pixels_in_every_way() -> None:
    images = _copies(4_000)
    batch = _in_bytes(BatchTransform(augmentation="flip-crop", device=CPU)(images, _generator()))
    seen: dict[bytes, int] = {}
    for image in batch:
        key = image.numpy().tobytes()
        seen[key] = seen.get(key, 0) + 1
    expected = set()
    for source in (images[0], images[0].flip(2)):
        padded = functional.pad(source, [4] * 4)
        expected |= {
            padded[:, row : row + 6, column : column + 6].numpy().tobytes()
            for row in range(9)
            for column in range(9)
        }
    assert set(seen) == expected
    assert max(seen.values()) < 60  # 4,000 over 162 cases is 25 each


def test_a_batch_in_pieces_is_augmented_like_one_in_a_single_piece() -> None:
    transform = BatchTransform(augmentation="flip-crop", device=CPU)
    images = _copies(32)
    generator = _generator(3)
    pieces = [transform(piece, generator) for piece in torch.split(images, 7)]
    assert torch.equal(torch.cat(pieces), transform(images, _generator(3)))


def test_the_generator_decides() -> None:
    transform = BatchTransform(augmentation="flip-crop", device=CPU)
    first, again, other = (transform(_copies(32), _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_images_are_not_changed() -> None:
    images = _copies(8)
    BatchTransform(augmentation="flip-crop", device=CPU)(images, _generator())
    assert torch.equal(images, _copies(8))


@pytest.mark.parametrize("augmentation", ["none", "flip", "flip-crop"])
def test_an_empty_batch_stays_empty(augmentation: str) -> None:
    batch = BatchTransform(augmentation=augmentation, device=CPU)(_copies(0), _generator())
    assert batch.shape == (0, 3, 6, 6)


def test_an_unknown_augmentation_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown augmentation 'flips': did you mean 'flip'"):
        BatchTransform(augmentation="flips", device=CPU)
