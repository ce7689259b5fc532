"""The scattering transform in products of real matrices: slower, but gradients pass it and files hold it.

What trains uses `transform.Scattering`, which works in place. This one explains predictions down to their
pixels, and goes into files that others load.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from common.models.scattering.filters import Grid, Real, at_resolution
from common.models.scattering.transform import subsampled_blur

_SMALLEST_SQUARE = 1e-16
"""Added under a modulus, whose slope at nothing is not defined: far below what float32 tells apart."""


class ScatteringModule(nn.Module):
    """Compute what `transform.Scattering` computes.

    Args:
        scales: number J of octaves.
        orientations: number L of wavelets an octave.
        image_size: height and width in pixels, multiples of 2**J above 2**J.
    """

    def __init__(self, *, scales: int, orientations: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        self._scales, self._margin = scales, 2**scales
        height, width = (size + 2 * self._margin for size in image_size)
        grid = Grid(height=height, width=width, orientations=orientations)
        wavelets = [grid.wavelets(scale) for scale in range(scales)]
        low_pass = grid.low_pass(scales)
        resolutions = range(scales)
        self.spectra = nn.ModuleList(_Spectrum(height >> held, width >> held) for held in resolutions)
        self.averages = nn.ModuleList(
            _Average(at_resolution(low_pass, held), self._margin >> held) for held in resolutions
        )
        self.wavelets = nn.ModuleDict(
            {
                f"{held}-{scale}": _Modulus(at_resolution(wavelets[scale], held), scale - held)
                for scale in range(scales)
                for held in range(scale + 1)
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        """Transform float32 [batch, planes, height, width] to [batch, planes * channels, ...]."""
        padded = functional.pad(images, [self._margin] * 4, mode="reflect")
        spectrum: Tensor = self.spectra[0](padded)
        first, second = [], []
        for scale in range(self._scales):
            moduli = self.wavelets[f"0-{scale}"](spectrum)
            first.append(self.averages[scale](moduli))
            if scale + 1 < self._scales:
                second.append(self._second_order(moduli, scale))
        zeroth = self.averages[0](padded).unsqueeze(2)
        return torch.cat([zeroth, *first, *second], dim=2).flatten(1, 2)

    def _second_order(self, moduli: Tensor, held: int) -> Tensor:
        """Return the averaged moduli of coarser wavelets of moduli, [batch, planes, L * coarser * L, ...]."""
        spectrum = self.spectra[held](moduli)
        coarser = [
            self.averages[scale](self.wavelets[f"{held}-{scale}"](spectrum))
            for scale in range(held + 1, self._scales)
        ]
        return torch.cat(coarser, dim=3).flatten(2, 3)


class _Spectrum(nn.Module):
    """The Fourier transform: [..., height, width] to [..., width, 2 height], real part first."""

    down: Tensor
    right: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        cosines, sines = _waves(height, height)
        _hold(self, down=np.block([[cosines, -sines], [sines, cosines]]))
        _hold(self, right=np.hstack([_waves(width, width)[0], -_waves(width, width)[1]]))

    def forward(self, images: Tensor) -> Tensor:
        spectrum: Tensor = _turned(images @ self.right) @ self.down
        return spectrum


class _Modulus(nn.Module):
    """|image * wavelet| for each orientation, at every 2**n-th pixel, from the image's spectrum."""

    wavelets: Tensor
    down: Tensor
    right: Tensor

    def __init__(self, wavelets: Real, halvings: int) -> None:
        super().__init__()
        height, width = wavelets.shape[-2:]
        turned = wavelets.swapaxes(-1, -2) / (height * width)
        _hold(self, wavelets=np.concatenate([turned, turned], axis=-1))
        _hold(self, down=_inverse(height >> halvings, height), right=_inverse(width >> halvings, width))

    def forward(self, spectrum: Tensor) -> Tensor:
        filtered = spectrum.unsqueeze(-3) * self.wavelets
        real, imaginary = (_turned(filtered @ self.down) @ self.right).chunk(2, dim=-1)
        return torch.sqrt(real * real + imaginary * imaginary + _SMALLEST_SQUARE)


class _Average(nn.Module):
    """The final Gaussian blur, subsampled, of what lies inside the margin."""

    rows: Tensor
    columns: Tensor

    def __init__(self, low_pass: Real, step: int) -> None:
        super().__init__()
        peak = np.sqrt(low_pass[0, 0])
        _hold(self, rows=subsampled_blur(low_pass[:, 0] / peak, step))
        _hold(self, columns=subsampled_blur(low_pass[0] / peak, step).T)

    def forward(self, images: Tensor) -> Tensor:
        blurred: Tensor = self.rows @ images @ self.columns
        return blurred


def _turned(values: Tensor) -> Tensor:
    """Exchange rows and columns of complex numbers, [..., a, 2 b] to [..., b, 2 a]."""
    parts = values.reshape(*values.shape[:-1], 2, values.shape[-1] // 2)
    return parts.movedim(-1, -3).movedim(-1, -2).flatten(-2)


def _waves(places: int, frequencies: int) -> tuple[Real, Real]:
    """Return cos and sin of 2 pi k m / N at every (N / places)-th pixel m, each [N, places]."""
    pixels = np.arange(places) * (frequencies // places)
    angles = 2 * np.pi * (np.arange(frequencies)[:, None] * pixels % frequencies) / frequencies
    return np.cos(angles), np.sin(angles)


def _inverse(places: int, frequencies: int) -> Real:
    """Return the matrix [2 N, 2 places] that takes a spectrum, not divided by N, to pixels."""
    cosines, sines = _waves(places, frequencies)
    return np.block([[cosines, sines], [-sines, cosines]])


def _hold(module: nn.Module, **constants: Real) -> None:
    for name, values in constants.items():
        module.register_buffer(name, torch.tensor(values, dtype=torch.float32).contiguous())
