"""Filtering and subsampling in spectra of real numbers, against the same by pixels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from common.models.scattering.filters import Grid
from common.models.scattering.spectra import Scratch, Separable, waves
from common.models.scattering.wavelets import WaveletModuli

CPU = torch.device("cpu")


def planes(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("places", [4, 10, 24])
def test_waves_are_the_fourier_transforms_and_lose_nothing(places: int) -> None:
    table = waves(places)
    assert np.abs(table @ table.T - np.eye(places)).max() < 1e-12
    power = np.abs(np.fft.fft(table)) > 1e-9
    frequencies = np.arange(places)
    assert (
        power == (frequencies == frequencies[:, None]) | (frequencies == -frequencies[:, None] % places)
    ).all()


def test_both_sides_are_multiplied_and_exchanged() -> None:
    rng = np.random.default_rng(0)
    outer, inner, images = rng.normal(size=(3, 6)), rng.normal(size=(5, 4)), planes(6, 4, 7)
    turned = Separable(outer, inner, Scratch(CPU))(images, "any")
    expected = np.einsum("ai,bj,ijn->ban", outer, inner, images.numpy())
    assert turned.shape == (5, 3, 7)
    assert np.abs(turned.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("height", "width", "halvings"), [(12, 20, 0), (16, 24, 1), (16, 24, 2), (40, 40, 2), (4, 4, 1)]
)
def test_every_so_manyth_pixel_of_the_filtered_image_is_kept(height: int, width: int, halvings: int) -> None:
    wavelets = Grid(height=height, width=width, orientations=3).wavelets(1)
    images, scratch = planes(height, width, 5), Scratch(CPU)
    spectra = Separable(waves(height), waves(width), scratch)(images, "spectra")
    moduli = WaveletModuli(wavelets, halvings, scratch)(spectra)
    whole = (
        scipy.fft.fft2(images.double().numpy(), axes=(0, 1))[:, :, None]
        * wavelets.transpose(1, 2, 0)[..., None]
    )
    expected = np.abs(scipy.fft.ifft2(whole, axes=(0, 1)))[:: 1 << halvings, :: 1 << halvings]
    assert np.abs(moduli.view(*expected.shape).numpy() - expected).max() < 1e-6
    assert expected.max() > 0.01


def test_scratch_memory_is_a_purposes_own_and_grows() -> None:
    scratch = Scratch(CPU)
    first = scratch.take("one", 2, 3)
    assert scratch.take("one", 3, 2).data_ptr() == first.data_ptr()
    assert scratch.take("other", 2, 3).data_ptr() != first.data_ptr()
    assert scratch.take("one", 100, 100).shape == (100, 100)
