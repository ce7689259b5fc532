"""How a kernel walks over images: which of its values meet which pixels.

Along one side of an image the results fall into stretches to which the same of the kernel's values belong:
near the border fewer than in the middle, and on the way back through a stride only every second or third. A
walk is one such stretch of rows by one of columns. What lies outside an image is so never multiplied.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import prod

from client.gradients.lanes.layout import LANES
from client.kernels.structures import Batch, Tap, Walk


@dataclass(frozen=True, kw_only=True)
class Side:
    """A convolution along one side of an image.

    Args:
        size: pixels of the image.
        kernel: values of the kernel.
        stride: pixels between two positions.
        padding: zeros before and after the image.
        dilation: pixels between two values of the kernel.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def results(self) -> int:
        """How many positions there are."""
        return (self.size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    def seen_by(self, result: int) -> list[tuple[int, int]]:
        """Return the kernel's values that meet a pixel at one position, each with its pixel."""
        begin = result * self.stride - self.padding
        met = [(value, begin + value * self.dilation) for value in range(self.kernel)]
        return [(value, pixel) for value, pixel in met if 0 <= pixel < self.size]

    def seeing(self, pixel: int) -> list[tuple[int, int]]:
        """Return the kernel's values that a pixel meets, each with the position at which it does."""
        ends = [(value, pixel + self.padding - value * self.dilation) for value in range(self.kernel)]
        met = [(value, end // self.stride) for value, end in ends if end % self.stride == 0]
        return [(value, position) for value, position in met if 0 <= position < self.results]


@dataclass(frozen=True, kw_only=True)
class _Stretch:
    """Targets first, first + step, ... that meet the same values, each a source that moves on by `pace`."""

    first: int
    step: int
    count: int
    pace: int
    met: tuple[tuple[int, int], ...]


def _stretches(
    size: int, step: int, meeting: Callable[[int], list[tuple[int, int]]], pace: int
) -> list[_Stretch]:
    found = []
    for begin in range(min(step, size)):
        targets = range(begin, size, step)
        for values, group in groupby(targets, key=lambda target: [value for value, _ in meeting(target)]):
            first, *others = group
            sources = [source for _, source in meeting(first)]
            met = tuple(zip(values, sources, strict=True))
            found.append(_Stretch(first=first, step=step, count=1 + len(others), pace=pace, met=met))
    return found


@dataclass(frozen=True, kw_only=True)
class Walks:
    """All walks of a convolution one way, for `correlate` and `kernel_gradients` of lanes.c.

    Args:
        walks, taps: arrays of structures.
        channels: of the results.
        image, result: numbers in an image and in a result of one block.
        result_channel, kernel_channel: numbers from one channel of the results, of the kernel, to the next.
    """

    walks: ctypes.Array[Walk]
    taps: ctypes.Array[Tap]
    channels: int
    image: int
    result: int
    result_channel: int
    kernel_channel: int

    def over(self, blocks: int) -> Batch:
        """Return what the kernels need to know of a batch."""
        return Batch(
            *(blocks, len(self.walks), self.channels, self.image, self.result),
            *(self.result_channel, self.kernel_channel),
        )


@lru_cache(maxsize=256)
def walks_forward(channels: int, filters: int, rows: Side, columns: Side) -> Walks:
    """Return the walks from images [channels, H, W] to a convolution's results [filters, H', W']."""
    values = rows.kernel * columns.kernel
    return _walks(
        down=_stretches(rows.results, 1, rows.seen_by, rows.stride),
        right=_stretches(columns.results, 1, columns.seen_by, columns.stride),
        sources=(channels, rows.size, columns.size),
        targets=(filters, rows.results, columns.results),
        of_channel=[channel * values for channel in range(channels)],
        width=columns.kernel,
        kernel_channel=channels * values,
    )


@lru_cache(maxsize=256)
def walks_back(channels: int, filters: int, rows: Side, columns: Side) -> Walks:
    """Return the walks from the gradient of a convolution's results to that of its images."""
    values = rows.kernel * columns.kernel
    return _walks(
        down=_stretches(rows.size, rows.stride, rows.seeing, 1),
        right=_stretches(columns.size, columns.stride, columns.seeing, 1),
        sources=(filters, rows.results, columns.results),
        targets=(channels, rows.size, columns.size),
        of_channel=[number * channels * values for number in range(filters)],
        width=columns.kernel,
        kernel_channel=values,
    )


def _walks(
    *,
    down: list[_Stretch],
    right: list[_Stretch],
    sources: tuple[int, int, int],
    targets: tuple[int, int, int],
    of_channel: list[int],
    width: int,
    kernel_channel: int,
) -> Walks:
    """Lay stretches of rows over stretches of columns.

    Args:
        sources, targets: channels, height and width.
        of_channel: where each source channel's values are in the kernel of one target channel.
        width: of the kernel.
        kernel_channel: numbers from one target channel's kernel to the next.
    """
    (_, source_height, source_width), (channels, height, across) = sources, targets
    if max(prod(sources), prod(targets)) * LANES >= 2**31:
        raise RuntimeError(f"images of {sources} or {targets} numbers are too large for the compiled kernels")
    walks: list[Walk] = []
    taps: list[Tap] = []
    for rows in down:
        for columns in right:
            some = [
                Tap(
                    ((channel * source_height + row) * source_width + column) * LANES,
                    value + vertical * width + horizontal,
                )
                for channel, value in enumerate(of_channel)
                for vertical, row in rows.met
                for horizontal, column in columns.met
            ]
            walks.append(
                Walk(
                    *(len(some), len(taps), rows.count, columns.count),
                    *(0, rows.pace * source_width * LANES, columns.pace * LANES),
                    (rows.first * across + columns.first) * LANES,
                    *(rows.step * across * LANES, columns.step * LANES),
                )
            )
            taps += some
    return Walks(
        walks=(Walk * len(walks))(*walks),
        taps=(Tap * max(1, len(taps)))(*taps),
        channels=channels,
        image=sources[0] * source_height * source_width * LANES,
        result=channels * height * across * LANES,
        result_channel=height * across * LANES,
        kernel_channel=kernel_channel,
    )
