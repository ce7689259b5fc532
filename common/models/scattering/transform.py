"""The scattering transform of whole batches of images.

Wavelets are applied by FFT, all orientations of a scale in one product, and subsampled by adding blocks of
spectra. The final averaging is Gaussian and so separable: two small matrix products blur, subsample and unpad
at once, where an FFT of each of hundreds of channels would take most of the time.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import torch
from torch import Tensor
from torch.nn import functional

from common.errors import ConfigError
from common.models.scattering.filters import Grid, Real, at_resolution

_CACHED_VALUES = 2**18
"""Complex numbers of the largest intermediate that a CPU's cache holds."""


class Scattering:
    """Computes scattering coefficients of orders 0, 1 and 2, in kymatio's order.

    Source: Bruna and Mallat 2013; Oyallon and Mallat 2015, "Deep Roto-Translation Scattering for Object
    Classification". A call changes nothing, so threads may share one.

    Args:
        scales: number J of octaves; the output is 2**J times smaller than the image.
        orientations: number L of wavelets an octave.
        image_size: height and width in pixels, multiples of 2**J above 2**J.
        device: where filters and images are.

    Raises:
        ConfigError: when the image size does not go with the scales.
    """

    def __init__(
        self,
        *,
        scales: int,
        orientations: int,
        image_size: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> None:
        step = 2**scales
        if any(size % step or size <= step for size in image_size):
            raise ConfigError(
                f"scattering over {scales} scales takes images whose sides are multiples of {step} above "
                f"{step}, not {image_size[0]}x{image_size[1]}: choose another image size"
            )
        self._scales, self._margin = scales, step
        self._device = torch.device(device)
        height, width = (size + 2 * step for size in image_size)
        grid = Grid(height=height, width=width, orientations=orientations)
        self._wavelets = self._all_wavelets(grid)
        low_pass = grid.low_pass(scales)
        self._averages = [self._averaging(at_resolution(low_pass, held), held) for held in range(scales)]
        self.channels = 1 + scales * orientations + orientations**2 * scales * (scales - 1) // 2
        self.output_size = (image_size[0] // step, image_size[1] // step)
        largest = height * width * max(1, orientations // 4) * orientations
        self._planes_at_a_time = max(1, _CACHED_VALUES // largest)

    def __call__(self, images: Tensor) -> Tensor:
        """Transform a batch.

        Args:
            images: float32 [batch, planes, height, width]; the batch is not empty.

        Returns:
            float32 [batch, planes * channels, height / 2**J, width / 2**J].
        """
        margin = self._margin
        padded = functional.pad(images, (margin, margin, margin, margin), mode="reflect").flatten(0, 1)
        outputs = images.new_empty(len(padded), self.channels, *self.output_size)
        at_a_time = self._planes_at_a_time if self._device.type == "cpu" else max(1, len(padded))
        scratch = _Scratch(self._device)
        parts = zip(torch.split(padded, at_a_time), torch.split(outputs, at_a_time), strict=True)
        for planes, output in parts:
            self._transform(planes, output, scratch)
        return outputs.view(len(images), -1, *self.output_size)

    def _transform(self, planes: Tensor, output: Tensor, scratch: _Scratch) -> None:
        """Write the coefficients of planes [p, h, w] into `output`, [p, channels, ...]."""
        first, second = [], []
        spectra = torch.fft.fft2(planes)
        for scale in range(self._scales):
            moduli = self._moduli(spectra, 0, scale, scratch)
            first.append(self._average(moduli, scale))
            if scale + 1 < self._scales:
                second.append(self._second_order(moduli, scale, scratch))
        torch.cat([self._average(planes, 0)[:, None], *first, *second], dim=1, out=output)

    def _second_order(self, moduli: Tensor, held: int, scratch: _Scratch) -> Tensor:
        """Return the averaged moduli of coarser wavelets of moduli, [p, L * coarser * L, ...]."""
        spectra = torch.fft.fft2(moduli)
        coarser = [
            self._average(self._moduli(spectra, held, scale, scratch), scale)
            for scale in range(held + 1, self._scales)
        ]
        return torch.cat(coarser, dim=2).flatten(1, 2)

    def _moduli(self, spectra: Tensor, held: int, scale: int, scratch: _Scratch) -> Tensor:
        """Return |image * wavelet| for each orientation, [..., L, h, w], halved to what the scale needs.

        To keep every 2**n-th pixel is to add 4**n blocks of a spectrum, which are added as they are filtered.
        """
        halvings, wavelets = scale - held, self._wavelets[held, scale]
        height, width = (size >> halvings for size in spectra.shape[-2:])
        blocks = _blocks(torch.view_as_real(spectra).flatten(-2), halvings)[..., None, :, :]
        filtered = scratch.take((*spectra.shape[:-2], wavelets.shape[0], 2 * height * width))
        torch.mul(blocks[..., 0, :], wavelets[:, 0], out=filtered)
        for number in range(1, 4**halvings):
            filtered.addcmul_(blocks[..., number, :], wavelets[:, number])
        return _inverse_modulus(torch.view_as_complex(filtered.view(*filtered.shape[:-1], height, width, 2)))

    def _average(self, images: Tensor, held: int) -> Tensor:
        """Blur images [..., h, w] that were halved `held` times, and take what lies inside the margin."""
        down, right = self._averages[held]
        return torch.matmul(torch.matmul(down, images), right)

    def _all_wavelets(self, grid: Grid) -> dict[tuple[int, int], Tensor]:
        """Return the filters by how often an image was halved before and the scale."""
        wavelets = [grid.wavelets(scale) for scale in range(self._scales)]
        return {
            (held, scale): self._filters(at_resolution(wavelets[scale], held), scale - held)
            for scale in range(self._scales)
            for held in range(scale + 1)
        }

    def _filters(self, spectra: Real, halvings: int) -> Tensor:
        """Return blocks [L, 4**n, 2 h w] to multiply with the real and imaginary parts of a spectrum's."""
        return _blocks(self._tensor(spectra.repeat(2, axis=-1) / 4.0**halvings), halvings)

    def _averaging(self, spectrum: Real, held: int) -> tuple[Tensor, Tensor]:
        """Return the matrices [rows out, rows in] and [columns in, columns out] of a separable low-pass."""
        peak, step = np.sqrt(spectrum[0, 0]), self._margin >> held
        down, right = subsampled_blur(spectrum[:, 0] / peak, step), subsampled_blur(spectrum[0] / peak, step)
        return self._tensor(down), self._tensor(right.T)

    def _tensor(self, values: Real) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device).contiguous()


class _Scratch:
    """Memory that parts of a batch use in turn: fetching it from the system anew takes long."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._taken: dict[tuple[int, ...], Tensor] = {}

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Return float32 memory of a shape, with whatever was left in it."""
        if shape not in self._taken:
            self._taken[shape] = torch.empty(shape, dtype=torch.float32, device=self._device)
        return self._taken[shape]


def subsampled_blur(spectrum: Real, step: int) -> Real:
    """Return the matrix of a circular convolution at every `step`-th place, the first and last left out.

    Args:
        spectrum: Fourier transform of the kernel, real, [places].
        step: pixels from one output to the next.
    """
    kernel: Real = np.fft.ifft(spectrum).real
    places = np.arange(0, len(kernel), step)[1:-1]
    matrix: Real = kernel[(places[:, None] - np.arange(len(kernel))) % len(kernel)]
    return matrix


def _blocks(rows: Tensor, halvings: int) -> Tensor:
    """Cut [..., height, width] into blocks of a 2**n-th of either side, [..., 4**n, values of a block]."""
    (height, width), parts = rows.shape[-2:], 1 << halvings
    cut = rows.reshape(*rows.shape[:-2], parts, height // parts, parts, width // parts)
    return cut.transpose(-3, -2).reshape(*rows.shape[:-2], parts**2, -1)


def _inverse_modulus(spectra: Tensor) -> Tensor:
    """Return the absolute values of the images of spectra, which may be overwritten.

    On a CPU SciPy works in place, and NumPy takes absolute values ten times as fast as torch.
    """
    moduli: Tensor
    if spectra.device.type != "cpu":
        moduli = torch.fft.ifft2(spectra).abs()
    else:
        moduli = torch.from_numpy(np.abs(scipy.fft.ifft2(spectra.numpy(), overwrite_x=True)))
    return moduli
