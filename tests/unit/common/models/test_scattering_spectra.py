"""Filtering and subsampling in spectra, against the same by pixels; and what other devices than a CPU do."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from common.models.scattering.filters import Grid
from common.models.scattering.spectra import Folding, Scratch, half_spectra, inverse_modulus, spectra

CPU = torch.device("cpu")


class ElsewhereTensor(torch.Tensor):
    """Says that it is on another device, so that what is for other devices runs on this one."""

    device = torch.device("meta")


def planes(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("height", "width", "halvings"), [(16, 24, 1), (16, 24, 2), (40, 40, 2)])
def test_every_so_manyth_pixel_of_the_filtered_image_is_kept(height: int, width: int, halvings: int) -> None:
    wavelets = Grid(height=height, width=width, orientations=3).wavelets(1)
    images = planes(height, width, 5)
    filtered = Folding(wavelets, halvings, CPU)(half_spectra(images), Scratch(CPU))
    moduli = torch.empty(filtered.shape)
    inverse_modulus(filtered, out=moduli)
    whole = (
        scipy.fft.fft2(images.double().numpy(), axes=(0, 1))[:, :, None]
        * wavelets.transpose(1, 2, 0)[..., None]
    )
    expected = np.abs(scipy.fft.ifft2(whole, axes=(0, 1)))[:: 1 << halvings, :: 1 << halvings]
    assert np.abs(moduli.numpy() - expected).max() < 1e-6
    assert expected.max() > 0.01


def test_other_devices_compute_the_same() -> None:
    images = planes(8, 12, 3)
    elsewhere = images.as_subclass(ElsewhereTensor)  # type: ignore[no-untyped-call]
    assert torch.allclose(spectra(elsewhere).as_subclass(torch.Tensor), spectra(images), atol=1e-5)
    assert torch.allclose(half_spectra(elsewhere).as_subclass(torch.Tensor), half_spectra(images), atol=1e-5)
    here, there = torch.empty(8, 12, 3), torch.empty(8, 12, 3)
    inverse_modulus(spectra(images), out=here)
    inverse_modulus(spectra(images).as_subclass(ElsewhereTensor), out=there)  # type: ignore[no-untyped-call]
    assert torch.allclose(there, here, atol=1e-4)
    assert torch.allclose(here / 96, images, atol=1e-6)


def test_scratch_memory_is_a_purposes_own_and_grows() -> None:
    scratch = Scratch(CPU)
    first = scratch.take("one", 2, 3)
    assert scratch.take("one", 3, 2).data_ptr() == first.data_ptr()
    assert scratch.take("other", 2, 3).data_ptr() != first.data_ptr()
    assert scratch.take("one", 100, 100).shape == (100, 100)
