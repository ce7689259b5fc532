"""The scattering transform that gradients pass, against the one that trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.data.synthetic import draw_images
from common.models.scattering.front import SCATTERING, StandardisedScattering
from common.models.scattering.module import ScatteringModule
from common.models.scattering.transform import Scattering

CPU = torch.device("cpu")


@pytest.mark.parametrize(("scales", "orientations", "size"), [(2, 8, (32, 32)), (3, 6, (48, 32))])
def test_it_computes_what_trains(scales: int, orientations: int, size: tuple[int, int]) -> None:
    images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = Scattering(scales=scales, orientations=orientations, image_size=size)(images)
    outputs = ScatteringModule(scales=scales, orientations=orientations, image_size=size)(images)
    assert outputs.shape == expected.shape
    assert (outputs - expected).abs().max() < 1e-6
    assert expected.std() > 0.01


def test_the_fronts_module_is_the_front() -> None:
    images = draw_images(8, np.random.default_rng(0)).images
    assert SCATTERING.module is not None
    features = SCATTERING.module()(images.float())
    assert (features - SCATTERING.build(CPU)(images)).abs().max() < 1e-4


def test_gradients_reach_the_pixels_and_are_right() -> None:
    generator = torch.Generator().manual_seed(2)
    front = StandardisedScattering().double()
    images = (255 * torch.rand(1, 3, 32, 32, generator=generator)).double().requires_grad_()
    weights = torch.rand(243, 8, 8, generator=generator).double()
    (gradient,) = torch.autograd.grad((front(images) * weights).sum(), images)
    direction = torch.randn(images.shape, generator=generator).double()
    above, below = (((front(images + step * direction) * weights).sum()) for step in (1e-4, -1e-4))
    assert gradient.abs().max() > 0
    assert float((gradient * direction).sum()) == pytest.approx(
        float((above - below).detach()) / 2e-4, rel=1e-5
    )


def test_an_image_without_structure_has_gradients_all_the_same() -> None:
    images = torch.full((1, 3, 32, 32), 128.0, requires_grad=True)
    StandardisedScattering()(images).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
