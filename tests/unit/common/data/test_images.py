from __future__ import annotations

import numpy as np
import torch

from common.data.images import ImageData, hold_images


def _four_images() -> ImageData:
    pixels = np.repeat(np.arange(4, dtype=np.uint8), 3 * 8 * 8).reshape(4, 3, 8, 8)
    return hold_images(pixels, np.array([0, 1, 1, 0]), ("cat", "dog"), 8)


def test_a_subset_keeps_the_asked_order_and_the_classes() -> None:
    subset = _four_images().subset(np.array([2, 0]))
    assert len(subset) == 2
    assert subset.images[:, 0, 0, 0].tolist() == [2, 0]
    assert subset.labels.tolist() == [1, 0]
    assert subset.classes == ("cat", "dog")


def test_a_subset_is_a_copy() -> None:
    data = _four_images()
    data.subset(np.array([1])).images.zero_()
    assert data.images[1].unique().tolist() == [1]


def test_an_empty_subset_has_no_records() -> None:
    subset = _four_images().subset(np.array([], dtype=np.int64))
    assert len(subset) == 0
    assert subset.images.shape == (0, 3, 8, 8)


def test_a_share_is_what_a_subset_is_and_copies_nothing() -> None:
    data, chosen = _four_images(), np.array([2, 0, 1])
    share, subset = data.share(chosen), data.subset(chosen)
    assert len(share) == len(subset)
    assert torch.equal(share.images, subset.images)
    assert torch.equal(share.inputs, subset.inputs)
    assert torch.equal(share.labels, subset.labels)
    assert share.classes == subset.classes
    numbers = torch.tensor([1, 2])
    assert torch.equal(share.take(numbers), subset.take(numbers))
    data.images[2] = 9
    assert share.images[0].unique().tolist() == [9]


def test_images_of_another_size_are_resized() -> None:
    pixels = np.full((2, 3, 4, 4), 7, dtype=np.uint8)
    data = hold_images(pixels, np.array([0, 1]), ("cat", "dog"), 8)
    assert data.images.shape == (2, 3, 8, 8)
    assert data.images.dtype == torch.uint8
    assert data.images.unique().tolist() == [7]
