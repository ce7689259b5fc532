"""Morlet wavelets and the low-pass of a scattering transform, as their Fourier transforms.

Source: Bruna and Mallat 2013, "Invariant Scattering Convolution Networks"; constants (widths, frequencies,
slant, the rounded pi of the norm) as in kymatio 0.3 (Andreux et al. 2020), to which outputs are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

_WIDTH = 0.8
_FREQUENCY = 3.0 / 4.0 * np.pi
_PI = 3.1415
_PERIODS = range(-2, 3)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The padded image on which filters live.

    Args:
        height: rows in pixels.
        width: columns in pixels.
        orientations: number L of wavelets a scale.
    """

    height: int
    width: int
    orientations: int

    def wavelets(self, scale: int) -> Real:
        """Return the Fourier transforms, real, of a scale's wavelets, [L, height, width]."""
        angles = [
            (int(self.orientations / 2 - 1) - turn) * np.pi / self.orientations
            for turn in range(self.orientations)
        ]
        return np.stack([self._morlet(scale, angle) for angle in angles])

    def low_pass(self, scales: int) -> Real:
        """Return the Fourier transform, real, of the averaging that ends `scales` scales, [height, width]."""
        gaussian = self._gabor(_WIDTH * 2.0 ** (scales - 1), 0.0, 0.0, slant=1.0)
        return np.fft.fft2(gaussian).real

    def _morlet(self, scale: int, angle: float) -> Real:
        """A Gabor wavelet less as much of its envelope as makes its sum exactly zero."""
        width, slant = _WIDTH * 2.0**scale, 4.0 / self.orientations
        wave = self._gabor(width, angle, _FREQUENCY / 2.0**scale, slant)
        envelope = self._gabor(width, angle, 0.0, slant)
        return np.fft.fft2(wave - wave.sum() / envelope.sum() * envelope).real

    def _gabor(self, width: float, angle: float, frequency: float, slant: float) -> Complex:
        """A plane wave under an oval Gaussian, wrapped around the grid."""
        total = np.zeros((self.height, self.width), dtype=np.complex128)
        cos, sin = np.cos(angle), np.sin(angle)
        for down in _PERIODS:
            for right in _PERIODS:
                y, x = np.mgrid[: self.height, : self.width].astype(np.float64)
                y, x = y + down * self.height, x + right * self.width
                along, across = y * cos + x * sin, x * cos - y * sin
                envelope = (along**2 + (slant * across) ** 2) / (2 * width**2)
                total += np.exp(-envelope + 1j * frequency * along)
        return total / (2 * _PI * width**2 / slant)


def at_resolution(spectrum: Real, halvings: int) -> Real:
    """Return a filter for images halved so often: its outer frequencies cut off, the rest folded.

    Args:
        spectrum: [..., height, width], both divisible by 2**halvings.
        halvings: how often the image's height and width are halved.
    """
    if not halvings:
        return spectrum
    height, width = (size >> halvings for size in spectrum.shape[-2:])
    folded = (spectrum * _kept(spectrum.shape[-2], halvings)[:, None]) * _kept(spectrum.shape[-1], halvings)
    parts = folded.reshape(*spectrum.shape[:-2], 1 << halvings, height, 1 << halvings, width)
    summed: Real = parts.sum(axis=(-4, -2))
    return summed


def _kept(size: int, halvings: int) -> Real:
    kept = np.ones(size)
    start = int(size * 2.0 ** (-halvings - 1))
    kept[start : start + int(size * (1 - 2.0**-halvings))] = 0.0
    return kept
