"""Moduli of wavelet transforms, from spectra of cosines and sines."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.models.scattering.filters import Complex, Real
from common.models.scattering.spectra import Scratch, Separable, constant, waves

Places = NDArray[np.int64]


class WaveletModuli:
    """Filters images by a wavelet of each orientation, keeps every 2**n-th pixel, takes absolute values.

    A filter makes of a wave only that wave and its partner, the sine or cosine of the same frequency; and
    where not every pixel is kept, few waves look alike. So waves fall into small groups along each side, and
    a matrix for each two groups filters by all wavelets and leaves out pixels.

    Args:
        wavelets: the wavelets' Fourier transforms, real, [L, height, width].
        halvings: n; 2**(n + 1) divides both sides.
        scratch: holds results.
    """

    def __init__(self, wavelets: Real, halvings: int, scratch: Scratch) -> None:
        _, height, width = wavelets.shape
        (y, rows), (x, columns) = _groups(height, halvings), _groups(width, halvings)
        places = x[:, None, :, None] * height + y[None, :, None, :]
        self._places = torch.from_numpy(places.reshape(-1)).to(scratch.device)
        chosen = wavelets[:, y[:, :, None, None], x]
        matrices = np.einsum("lykxm,yojk,xpim->pxyolij", chosen, rows, columns, optimize=True)
        parts = np.stack([matrices.real, matrices.imag], axis=4)
        self._matrices = constant(
            parts.reshape(2, len(x) * len(y), -1, x.shape[1] * y.shape[1]), scratch.device
        )
        self._height, self._width = height >> halvings, width >> halvings
        right, down = waves(self._width)[x[:, :2].T.ravel()], waves(self._height)[y[:, :2].ravel()]
        self._pixels = Separable(right.T, down.T, scratch)
        self._scratch = scratch

    def __call__(self, spectra: Tensor) -> Tensor:
        """Return moduli [height / 2**n, width / 2**n, L * planes], kept until the next call with the scratch.

        Args:
            spectra: products with `waves` along both sides, [width, height, planes].
        """
        planes, (_, groups, results, alike) = spectra.shape[2], self._matrices.shape
        grouped = self._scratch.take("grouped", groups, alike, planes)
        torch.index_select(spectra.flatten(0, 1), 0, self._places, out=grouped.view(-1, planes))
        filtered = self._scratch.take("filtered", 2, groups, results, planes)
        for matrices, part in zip(self._matrices, filtered, strict=True):
            torch.bmm(matrices, grouped, out=part)
        halves = self._pixels.inner(filtered.view(self._width, self._height, -1)).chunk(2, dim=2)
        # Apart, real and imaginary parts are squared faster; in memory already used, they stay in the cache.
        real, imaginary = filtered.view(2, self._height, self._width, -1)
        for half, pixels in zip(halves, (real, imaginary), strict=True):
            self._pixels.outer(half, out=pixels)
        moduli: Tensor = real.square_().addcmul_(imaginary, imaginary).sqrt_()
        return moduli


def _groups(size: int, halvings: int) -> tuple[Places, Complex]:
    """Return the waves of a side that look alike when every 2**n-th place is kept.

    Returns:
        The numbers of the waves in each group, which are those of its frequencies too, and whose first two
        are the group's waves among the kept places, [groups, 2**(n + 1)]; and, over each frequency, how much
        of a wave goes into either of the two, [groups, 2, waves, frequencies].
    """
    left = size >> halvings
    lower = np.arange(1, left // 2)
    two = np.vstack([[0, left // 2], np.stack([lower, left - lower], axis=1)])
    alike = (two[:, None] + np.arange(0, size, left)[:, None]).reshape(len(two), -1)
    place, order = np.mgrid[:size, :size]
    turns = np.exp(2j * np.pi * (place * order % size) / size)
    analysed = turns.conj() @ waves(size).T / size
    kept = waves(left) @ turns[:: 1 << halvings]
    from_waves = analysed[alike[:, None, None, :], alike[:, None, :, None]]
    into_two = kept[two[:, :, None, None], alike[:, None, None, :]]
    return alike, from_waves * into_two
