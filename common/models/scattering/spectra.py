"""Spectra of many planes that lie side by side: rows, columns, then planes.

On a CPU SciPy transforms in place, and NumPy takes absolute values ten times as fast as torch.
"""

from __future__ import annotations

import math
import threading

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.models.scattering.filters import Real

Places = NDArray[np.int64]

_AXES = (0, 1)


class Scratch(threading.local):
    """Memory that each thread uses again and again: fetching it from the system anew takes long."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held: dict[str, Tensor] = {}

    def take(self, purpose: str, *shape: int) -> Tensor:
        """Return float32 memory of a shape, with whatever the purpose's last use left in it."""
        size = math.prod(shape)
        held = self._held.get(purpose)
        if held is None or len(held) < size:
            with torch.inference_mode(mode=False):
                held = self._held[purpose] = torch.empty(size, dtype=torch.float32, device=self._device)
        return held[:size].view(shape)


class Folding:
    """Filters images and keeps every 2**n-th pixel of them, as spectra.

    To keep every 2**n-th pixel is to add the 4**n frequencies that then look alike: a product of two small
    matrices for each frequency of the result filters by every wavelet, and adds.

    Args:
        wavelets: the wavelets' Fourier transforms, real, [L, height, width].
        halvings: n, at least 1; 2**n divides both sides, and the width is even.
        device: where images are.
    """

    def __init__(self, wavelets: Real, halvings: int, device: torch.device) -> None:
        count, height, width = wavelets.shape
        self._parts = 1 << halvings
        self._size = (height // self._parts, width // self._parts)
        y, x = (_alike(side, self._parts) for side in (height, width))
        chosen = wavelets[:, y[:, None, :, None], x[None, :, None, :]] / (height * width)
        matrices = chosen.transpose(1, 2, 0, 3, 4).reshape(-1, count, self._parts**2)
        self._matrices = torch.tensor(matrices, dtype=torch.float32, device=device)
        self._places = torch.from_numpy(_places(height, width, y, x)).to(device)

    def __call__(self, half: Tensor, scratch: Scratch) -> Tensor:
        """Filter and subsample.

        Args:
            half: spectra of real images without those columns that follow from others, complex64
                [height, width / 2 + 1, planes].
            scratch: holds the result, until it is taken again.

        Returns:
            complex64 [height / 2**n, width / 2**n, L, planes], not normalised further by an inverse.
        """
        planes, (frequencies, count, alike) = half.shape[-1], self._matrices.shape
        folded = scratch.take("folded", frequencies, alike, 2 * planes)
        rows = torch.view_as_real(half).view(-1, 2 * planes)
        torch.index_select(rows, 0, self._places, out=folded.view(-1, 2 * planes))
        upper = folded.view(-1, self._parts, self._parts, planes, 2)[:, :, self._parts // 2 :]
        torch.view_as_complex(upper).conj_physical_()
        filtered = scratch.take("filtered", frequencies, count, 2 * planes)
        torch.bmm(self._matrices, folded, out=filtered)
        return torch.view_as_complex(filtered.view(*self._size, count, planes, 2))


def spectra(images: Tensor) -> Tensor:
    """Return the Fourier transforms of images [height, width, ...]."""
    transformed: Tensor
    if images.device.type == "cpu":
        transformed = torch.from_numpy(scipy.fft.fft2(images.numpy(), axes=_AXES))
    else:
        transformed = torch.fft.fft2(images, dim=_AXES)
    return transformed


def half_spectra(images: Tensor) -> Tensor:
    """Return what determines the Fourier transforms of real images, [height, width / 2 + 1, ...]."""
    transformed: Tensor
    if images.device.type == "cpu":
        transformed = torch.from_numpy(scipy.fft.rfft2(images.numpy(), axes=_AXES))
    else:
        transformed = torch.fft.rfft2(images, dim=_AXES)
    return transformed


def inverse_modulus(filtered: Tensor, out: Tensor) -> None:
    """Write the absolute values of the images of spectra that may be overwritten, and need no normalising."""
    if filtered.device.type == "cpu":
        images = scipy.fft.ifft2(filtered.numpy(), axes=_AXES, overwrite_x=True, norm="forward")
        np.abs(images, out=out.numpy())
    else:
        out.copy_(torch.fft.ifft2(filtered, dim=_AXES, norm="forward").abs())


def _alike(side: int, parts: int) -> Places:
    """Return the frequencies that look alike when every `parts`-th place is kept, [side / parts, parts]."""
    return np.arange(side).reshape(parts, -1).T


def _places(height: int, width: int, y: Places, x: Places) -> Places:
    """Return where a half spectrum has each frequency or, for its upper columns, the opposite one."""
    upper = np.arange(x.shape[1]) >= x.shape[1] // 2
    rows = np.where(upper, -y[:, None, :, None] % height, y[:, None, :, None])
    columns = np.where(upper, width - x, x)[None, :, None, :]
    places: Places = (rows * (width // 2 + 1) + columns).reshape(-1)
    return places
