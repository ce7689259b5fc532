"""Spectra of many planes that lie side by side, as sums of cosines and sines: real numbers throughout.

Along a side of a few dozen pixels, the product with a matrix of all waves is quicker than a fast Fourier
transform: it takes several times the arithmetic, but at nearly all that a processor can do.
"""

from __future__ import annotations

import math
import threading

import numpy as np
import torch
from torch import Tensor

from common.models.scattering.filters import Real


class Scratch(threading.local):
    """Memory that each thread uses again and again: fetching it from the system anew takes long."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._held: dict[str, Tensor] = {}

    def take(self, purpose: str, *shape: int) -> Tensor:
        """Return float32 memory of a shape, with whatever the purpose's last use left in it."""
        size = math.prod(shape)
        held = self._held.get(purpose)
        if held is None or len(held) < size:
            with torch.inference_mode(mode=False):
                held = self._held[purpose] = torch.empty(size, dtype=torch.float32, device=self.device)
        return held[:size].view(shape)


class Separable:
    """Multiplies both sides of planes by a matrix each, and exchanges the sides.

    Exchanged, either side's products are many small ones, whose rows lie close together in memory.

    Args:
        outer: for the first dimension, [places out, places in].
        inner: for the second, [places out, places in].
        scratch: holds results.
    """

    def __init__(self, outer: Real, inner: Real, scratch: Scratch) -> None:
        self._outer, self._inner = (constant(each, scratch.device) for each in (outer, inner))
        self._scratch = scratch

    def __call__(self, planes: Tensor, purpose: str) -> Tensor:
        """Transform [outer, inner, planes] to [inner, outer, planes], kept until the purpose's next use."""
        result = self._scratch.take(purpose, len(self._inner), len(self._outer), planes.shape[2])
        self.outer(self.inner(planes), out=result)
        return result

    def inner(self, planes: Tensor) -> Tensor:
        """Return the products of the second dimension alone, kept until the next of any."""
        products = self._scratch.take("inner", len(planes), len(self._inner), planes.shape[2])
        torch.bmm(self._inner.expand(len(planes), -1, -1), planes, out=products)
        return products

    def outer(self, planes: Tensor, *, out: Tensor) -> None:
        """Write the products of the first dimension, and exchange both."""
        torch.bmm(self._outer.expand(len(out), -1, -1), planes.transpose(0, 1), out=out)


def waves(places: int) -> Real:
    """Return the cosine and sine waves of a line, of length 1 and orthogonal, [places, places].

    Wave k is the cosine of frequency k up to half of the places, and above that the sine of `places` - k.
    """
    order, place = np.mgrid[:places, :places]
    angles = 2 * np.pi * (order * place % places) / places
    table: Real = np.where(order <= places // 2, np.cos(angles), np.sin(angles))
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    return table


def constant(values: Real, device: torch.device) -> Tensor:
    """Return float32 values in the order of their indices, on a device."""
    return torch.tensor(values, dtype=torch.float32, device=device).contiguous()
