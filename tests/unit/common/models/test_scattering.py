"""The scattering transform against kymatio's outputs, and the front that scales it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from common.data.synthetic import draw_images
from common.errors import ConfigError
from common.models.scattering.front import SCATTERING, channel_constants
from common.models.scattering.module import ScatteringModule
from common.models.scattering.transform import Scattering

VECTORS = Path(__file__).with_name("scattering_vectors.npz")
CPU = torch.device("cpu")


def vectors(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(VECTORS) as held:
        return torch.from_numpy(held[f"{name}_images"]), torch.from_numpy(held[f"{name}_outputs"])


@pytest.mark.parametrize(("name", "scales", "orientations"), [("cifar", 2, 8), ("oblong", 3, 6)])
def test_coefficients_are_kymatios(name: str, scales: int, orientations: int) -> None:
    images, expected = vectors(name)
    size = (images.shape[2], images.shape[3])
    transform = Scattering(scales=scales, orientations=orientations, image_size=size)
    outputs = transform(images.float() / 255)
    assert outputs.shape == expected.shape
    assert (outputs - expected).abs().max() < 2e-6
    assert expected.abs().max() > 0.5
    assert transform.channels == 1 + scales * orientations + orientations**2 * scales * (scales - 1) // 2


def test_an_image_is_transformed_alike_in_any_company() -> None:
    images = torch.rand(9, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    transform = Scattering(scales=2, orientations=8, image_size=(32, 32))
    alone = torch.cat([transform(image[None]) for image in images])
    assert torch.allclose(transform(images), alone, atol=1e-6)


def test_threads_share_a_transform() -> None:
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    transform = Scattering(scales=2, orientations=8, image_size=(32, 32))
    alone = [transform(image[None]) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: transform(image[None]), images))
    assert all(torch.equal(*pair) for pair in zip(together, alone, strict=True))


def test_what_one_call_leaves_does_not_disturb_the_next() -> None:
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    transform = Scattering(scales=2, orientations=8, image_size=(32, 32))
    with torch.inference_mode():
        first = transform(images)
    kept = first.clone()
    transform(1 - images)
    assert torch.equal(first, kept)
    assert torch.equal(transform(images), kept)


def test_one_scale_has_no_second_order() -> None:
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(5))
    transform = Scattering(scales=1, orientations=4, image_size=(16, 24))
    outputs = transform(images)
    assert outputs.shape == (2, 3 * 5, 8, 12)
    reference = ScatteringModule(scales=1, orientations=4, image_size=(16, 24))(images)
    assert (outputs - reference).abs().max() < 1e-6


def test_an_image_of_one_colour_has_its_mean_and_no_structure() -> None:
    outputs = Scattering(scales=2, orientations=8, image_size=(64, 32))(torch.full((1, 1, 64, 32), 0.5))
    assert outputs.shape == (1, 81, 16, 8)
    assert torch.allclose(outputs[0, 0], torch.tensor(0.5), atol=1e-3)
    assert outputs[0, 1:].abs().max() < 1e-5


@pytest.mark.parametrize("size", [(30, 32), (32, 34), (4, 32)])
def test_a_size_that_does_not_halve_so_often_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"multiples of 4 above 4, not {size[0]}x{size[1]}"):
        Scattering(scales=2, orientations=8, image_size=size)


def test_the_public_constants_bring_drawn_images_to_a_common_scale() -> None:
    means, deviations = channel_constants()
    assert means.shape == deviations.shape == (243,)
    assert (deviations > 1e-4).all()
    images = draw_images(200, np.random.default_rng(0)).images
    features = SCATTERING.build(CPU)(images)
    assert features.shape == (200, *SCATTERING.output_shape)
    raw = Scattering(scales=2, orientations=8, image_size=(32, 32))(images.float() / 255)
    assert torch.allclose(features[:, 7] * deviations[7] + means[7], raw[:, 7], atol=1e-6)
    scales = features.std(dim=(0, 2, 3))
    assert 0.2 < scales.min() < scales.max() < 5.0
    assert (raw.std(dim=(0, 2, 3)).max() / raw.std(dim=(0, 2, 3)).min()) > 50
