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
        self._scratch = Scratch(self._device)
        rows, columns = (_mirrored(size, step) for size in image_size)
        grid = Grid(height=len(rows), width=len(columns), orientations=orientations)
        sides = [(waves(grid.height >> held), waves(grid.width >> held)) for held in range(scales)]
        # Images come without their margins: what reads them first adds these.
        self._image_spectrum = Separable(sides[0][0] @ rows, sides[0][1] @ columns, self._scratch)
        self._spectra = [Separable(*each, self._scratch) for each in sides]
        self._moduli = self._all_moduli(grid)
        blurs = [self._blur(grid, held) for held in range(scales)]
        self._image_average = Separable(blurs[0][0] @ columns, blurs[0][1] @ rows, self._scratch)
        self._averages = [Separable(*each, self._scratch) for each in blurs]
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
            side_by_side = part.flatten(1).t().contiguous()
            self._transform(side_by_side.view(*part.shape[1:], -1), output)
        return outputs.view(len(images), -1, *self.output_size)

    def _transform(self, planes: Tensor, output: Tensor) -> None:
        """Write the coefficients of planes [h, w, p] into `output`, [p, channels, ...]."""
        first, second = self._orders(output)
        spectrum = self._image_spectrum(planes, "spectrum")
        self._average(planes, self._image_average, output[:, 0])
        for held in range(self._scales):
            moduli = self._moduli[0, held](spectrum)
            self._average(moduli, self._averages[held], first[:, held])
            if held + 1 < self._scales:
                self._second_order(self._spectra[held](moduli, "spectrum of moduli"), held, second[held])

    def _second_order(self, spectrum: Tensor, held: int, output: Tensor) -> None:
        """Write the averaged moduli of coarser wavelets of moduli, from their spectrum [w, h, L * p]."""
        for coarser in range(self._scales - held - 1):
            scale = held + 1 + coarser
            moduli = self._moduli[held, scale](spectrum)
            self._average(moduli, self._averages[scale], output[:, :, coarser])

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

    def _average(self, fields: Tensor, average: Separable, output: Tensor) -> None:
        """Blur fields and write what lies inside the margin.

        Args:
            fields: [h, w, ... * p], before the planes the orientations, the last wavelet's first.
            average: the blur at the fields' resolution.
            output: [p, ..., rows, columns], the orientations in the opposite order.
        """
        averages = average(fields.transpose(0, 1), "averages")
        apart = averages.flatten(0, 1).t().contiguous().view(*output.shape[-3::-1], *self.output_size)
        output.copy_(apart.permute(*reversed(range(output.ndim - 2)), -2, -1))

    def _all_moduli(self, grid: Grid) -> dict[tuple[int, int], WaveletModuli]:
        """Return what applies a scale's wavelets by how often an image was halved before and the scale."""
        return {
            (held, scale): WaveletModuli(at_resolution(wavelets, held), scale - held, self._scratch)
            for scale in range(self._scales)
            for wavelets in [grid.wavelets(scale)]
            for held in range(max(1, scale))
        }

    def _blur(self, grid: Grid, held: int) -> tuple[Real, Real]:
        """Return the low-pass of columns, and that of rows, of images that were halved `held` times."""
        spectrum, step = at_resolution(grid.low_pass(self._scales), held), self._step >> held
        peak = np.sqrt(spectrum[0, 0])
        return subsampled_blur(spectrum[0] / peak, step), subsampled_blur(spectrum[:, 0] / peak, step)


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


def _mirrored(size: int, margin: int) -> Real:
    """Return the matrix that gives a line a mirrored margin at both ends, [size + 2 * margin, size]."""
    matrix: Real = np.pad(np.eye(size), ((margin, margin), (0, 0)), mode="reflect")
    return matrix
