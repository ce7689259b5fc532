"""The scattering transform of whole batches of images.

Planes of images lie side by side: rows, then columns, then everything else. So one Fourier transform serves
hundreds of planes, and small matrices, one for each frequency, filter all of them by all wavelets of a scale.
The final averaging is Gaussian and so separable: two small matrix products blur, subsample and unpad at once,
where Fourier transforms of hundreds of channels would take most of the time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from common.errors import ConfigError
from common.models.scattering.filters import Grid, Real, at_resolution
from common.models.scattering.spectra import Folding, Scratch, half_spectra, inverse_modulus, spectra

_CACHED_VALUES = 350_000
"""Complex numbers of the largest intermediate: for more, parts of a batch leave a CPU's cache."""


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
        self._rows, self._columns = (_mirrored(size, step).to(device) for size in image_size)
        height, width = len(self._rows), len(self._columns)
        grid = Grid(height=height, width=width, orientations=orientations)
        self._finest = self._tensor(grid.wavelets(0).transpose(1, 2, 0) / (height * width))[..., None]
        self._foldings = self._all_foldings(grid)
        low_pass = grid.low_pass(scales)
        self._averages = [self._averaging(at_resolution(low_pass, held), held) for held in range(scales)]
        self.channels = 1 + scales * orientations + orientations**2 * scales * (scales - 1) // 2
        self.output_size = (image_size[0] // step, image_size[1] // step)
        largest = height * width * orientations * max(4, orientations + 1) // 4
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
        """Write the coefficients of planes [h, w, p] into `output`, [p, channels, ...].

        Coarser wavelets treat the planes and their finest moduli alike: as so many fields.
        """
        fields = self._with_finest_moduli(planes)
        first, second = self._orders(output)
        averages = self._average(fields, 0)
        output[:, 0] = averages[:, :, 0].movedim(-1, 0)
        first[:, 0] = averages[:, :, 1:].permute(3, 2, 0, 1)
        at_scale = {0: fields}
        for held in range(self._scales - 1):
            half = half_spectra(at_scale[held])
            for scale in range(held + 1, self._scales):
                moduli = self._moduli(half, held, scale)
                averages = self._average(moduli, scale)
                if held == 0:
                    at_scale[scale] = moduli[:, :, :, 0].clone()
                    first[:, scale] = averages[:, :, :, 0].permute(3, 2, 0, 1)
                    averages = averages[:, :, :, 1:]
                second[held][:, :, scale - held - 1] = averages.permute(4, 3, 2, 0, 1)

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

    def _with_finest_moduli(self, planes: Tensor) -> Tensor:
        """Return planes [h, w, p] and, after them, their moduli at scale 0, [h, w, 1 + L, p]."""
        height, width, count = planes.shape
        fields = self._scratch.take("fields", height, width, 1 + self._orientations, count)
        fields[:, :, 0] = planes
        filtered = self._scratch.take("finest", height, width, self._orientations, 2 * count)
        torch.mul(torch.view_as_real(spectra(planes)).flatten(2)[:, :, None], self._finest, out=filtered)
        pairs = filtered.view(height, width, self._orientations, count, 2)
        inverse_modulus(torch.view_as_complex(pairs), out=fields[:, :, 1:])
        return fields

    def _moduli(self, half: Tensor, held: int, scale: int) -> Tensor:
        """Return |field * wavelet| of fields' spectra [h, w / 2 + 1, f, p], halved, [..., L, f, p]."""
        filtered = self._foldings[held, scale](half.flatten(2), self._scratch)
        moduli = self._scratch.take("moduli", *filtered.shape)
        inverse_modulus(filtered, out=moduli)
        return moduli.view(*moduli.shape[:3], *half.shape[2:])

    def _average(self, fields: Tensor, held: int) -> Tensor:
        """Blur fields [h, w, ...] that were halved `held` times, and take what lies inside the margin."""
        down, right = self._averages[held]
        rows = torch.mm(down, fields.flatten(1)).view(len(down), fields.shape[1], -1)
        return torch.matmul(right, rows).view(*self.output_size, *fields.shape[2:])

    def _all_foldings(self, grid: Grid) -> dict[tuple[int, int], Folding]:
        """Return what applies a scale's wavelets by how often an image was halved before and the scale."""
        return {
            (held, scale): Folding(at_resolution(wavelets, held), scale - held, self._device)
            for scale in range(1, self._scales)
            for wavelets in [grid.wavelets(scale)]
            for held in range(scale)
        }

    def _averaging(self, spectrum: Real, held: int) -> tuple[Tensor, Tensor]:
        """Return the matrices [rows out, rows in] and [columns out, columns in] of a separable low-pass."""
        peak, step = np.sqrt(spectrum[0, 0]), self._step >> held
        down, right = subsampled_blur(spectrum[:, 0] / peak, step), subsampled_blur(spectrum[0] / peak, step)
        return self._tensor(down), self._tensor(right)

    def _tensor(self, values: Real) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device).contiguous()


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
