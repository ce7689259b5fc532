"""The scattering transform of whole batches of images.

Planes of images lie side by side: rows, then columns, then everything else. So each step is a product of
small matrices with hundreds of planes: one takes all of them to their spectra, one for each group of waves
filters them by all wavelets of a scale, one goes back to pixels. The final averaging is Gaussian and so
separable: two products blur, subsample and unpad at once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from common.errors import ConfigError
from common.models.scattering.filters import Grid, Real, at_resolution
from common.models.scattering.spectra import Scratch, Separable, waves
from common.models.scattering.wavelets import WaveletModuli

_CACHED_VALUES = 1_250_000
"""Numbers of the largest intermediate: with more, parts of a batch leave a CPU's cache."""


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
        self._scales, self._orientations, self._step = scales, orientations, step
        self._device = torch.device(device)
        self._rows, self._columns = (_mirrored(size, step).to(device) for size in image_size)
        grid = Grid(height=len(self._rows), width=len(self._columns), orientations=orientations)
        self._scratch = Scratch(self._device)
        self._spectra = [self._spectrum(grid, held) for held in range(scales)]
        self._moduli = self._all_moduli(grid)
        low_pass = grid.low_pass(scales)
        self._averages = [self._averaging(at_resolution(low_pass, held), held) for held in range(scales)]
        self.channels = 1 + scales * orientations + orientations**2 * scales * (scales - 1) // 2
        self.output_size = (image_size[0] // step, image_size[1] // step)
        largest = grid.height * grid.width * orientations * max(4, orientations) // 2
        self._planes_at_a_time = max(1, _CACHED_VALUES // largest)

    def __call__(self, images: Tensor) -> Tensor:
        """Transform a batch.

        Args:
            images: float32 [batch, planes, height, width]; the batch is not empty.

        Returns:
            float32 [batch, planes * channels, height / 2**J, width / 2**J].
        """
        planes = images.flatten(0, 1)
        outputs = images.new_empty(len(planes), self.channels, *self.output_size)
        at_a_time = self._planes_at_a_time if self._device.type == "cpu" else len(planes)
        parts = zip(torch.split(planes, at_a_time), torch.split(outputs, at_a_time), strict=True)
        for part, output in parts:
            side_by_side = part.permute(1, 2, 0).contiguous()
            padded = side_by_side.index_select(0, self._rows).index_select(1, self._columns)
            self._transform(padded, output)
        return outputs.view(len(images), -1, *self.output_size)

    def _transform(self, planes: Tensor, output: Tensor) -> None:
        """Write the coefficients of planes [h, w, p] into `output`, [p, channels, ...]."""
        first, second = self._orders(output)
        spectrum = self._spectra[0](planes, "spectrum")
        self._average(planes, 0, output[:, 0])
        for held in range(self._scales):
            moduli = self._moduli[0, held](spectrum)
            self._average(moduli, held, first[:, held])
            if held + 1 < self._scales:
                self._second_order(self._spectra[held](moduli, "spectrum of moduli"), held, second[held])

    def _second_order(self, spectrum: Tensor, held: int, output: Tensor) -> None:
        """Write the averaged moduli of coarser wavelets of moduli, from their spectrum [w, h, L * p]."""
        for coarser in range(self._scales - held - 1):
            scale = held + 1 + coarser
            self._average(self._moduli[held, scale](spectrum), scale, output[:, :, coarser])

    def _orders(self, output: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return where orders 1 and 2 go: by scale and orientation, and by those of both wavelets."""
        scales, count = self._scales, self._orientations
        coarser = range(scales - 1, 0, -1)
        sizes = [1, scales * count, *(count * more * count for more in coarser)]
        _, first, *second = torch.split(output, sizes, dim=1)
        place = output.shape[2:]
        return first.view(-1, scales, count, *place), [
            each.view(-1, count, more, count, *place) for each, more in zip(second, coarser, strict=True)
        ]

    def _average(self, fields: Tensor, held: int, output: Tensor) -> None:
        """Blur fields that were halved `held` times, and write what lies inside the margin.

        Args:
            fields: [h, w, ... * p], before the planes the orientations, the last wavelet's first.
            held: how often they were halved.
            output: [p, ..., rows, columns], the orientations in the opposite order.
        """
        averages = self._averages[held](fields.transpose(0, 1), "averages")
        apart = averages.view(*self.output_size, *output.shape[-3::-1])
        output.copy_(apart.permute(*reversed(range(2, output.ndim)), 0, 1))

    def _spectrum(self, grid: Grid, held: int) -> Separable:
        """Return what takes images that were halved `held` times to their spectra."""
        return Separable(waves(grid.height >> held), waves(grid.width >> held), self._scratch)

    def _all_moduli(self, grid: Grid) -> dict[tuple[int, int], WaveletModuli]:
        """Return what applies a scale's wavelets by how often an image was halved before and the scale."""
        return {
            (held, scale): WaveletModuli(at_resolution(wavelets, held), scale - held, self._scratch)
            for scale in range(self._scales)
            for wavelets in [grid.wavelets(scale)]
            for held in range(max(1, scale))
        }

    def _averaging(self, spectrum: Real, held: int) -> Separable:
        """Return the separable low-pass at every `step`-th pixel of an image that was halved before."""
        peak, step = np.sqrt(spectrum[0, 0]), self._step >> held
        down, right = subsampled_blur(spectrum[:, 0] / peak, step), subsampled_blur(spectrum[0] / peak, step)
        return Separable(right, down, self._scratch)


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


def _mirrored(size: int, margin: int) -> Tensor:
    """Return the place that each place of a line has its value from, a mirrored margin at both ends."""
    places = torch.arange(-margin, size + margin).abs()
    return torch.where(places < size, places, 2 * (size - 1) - places)
