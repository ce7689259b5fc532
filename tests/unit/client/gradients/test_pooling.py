"""Pooling by fours is the library's pooling, ties and odd sides included."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from client.gradients.pooling import largest_of_four


@pytest.mark.parametrize("height", [2, 5, 6])
@pytest.mark.parametrize("width", [2, 3, 8])
def test_values_and_places_are_those_of_the_library(height: int, width: int) -> None:
    torch.manual_seed(0)
    images = torch.randint(-2, 2, (20, 3, height, width)).float()  # few values, so that many are equal
    values, places = largest_of_four(images)
    expected, expected_places = functional.max_pool2d_with_indices(images, 2)
    assert torch.equal(values, expected)
    assert torch.equal(places, expected_places)


@pytest.mark.parametrize("at", range(4))
def test_what_is_not_a_number_is_not_passed_over(at: int) -> None:
    images = torch.zeros(1, 1, 2, 2)
    images.view(4)[at] = float("nan")
    assert largest_of_four(images)[0].isnan().all()
