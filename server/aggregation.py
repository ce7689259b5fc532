"""Averaging updates as they arrive, and refusing those that must not be averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.arrays import Arrays
from common.errors import MessageError
from common.protocol import Update

_IN_HAND = 2**15
"""Values that are added at a time, which stay near the processor."""


class StreamingMean:
    """A weighted mean that holds one model, however many updates it takes.

    Sums are in float64 and in the order of `add`, so equal orders give equal bits.
    Source: McMahan et al. 2017, Algorithm 1 (the averaging step).
    """

    def __init__(self, like: Arrays) -> None:
        self._sums: dict[str, NDArray[np.float64]] = {
            name: np.zeros(value.shape, dtype=np.float64) for name, value in like.items()
        }
        self._weight = 0.0

    def add(self, arrays: Arrays, weight: float) -> None:
        """Take in one update with its public weight, above 0."""
        for name, total in self._sums.items():
            sums, values = total.reshape(-1), arrays[name].reshape(-1)
            for start in range(0, len(sums), _IN_HAND):
                part = slice(start, start + _IN_HAND)
                sums[part] += np.multiply(values[part], weight, dtype=np.float64)
        self._weight += weight

    def mean(self) -> Arrays:
        """Return the mean so far; zeros when nothing was added."""
        scale = 1.0 / self._weight if self._weight else 0.0
        return {name: (total * scale).astype(np.float32) for name, total in self._sums.items()}


def check_update(update: Update, *, like: Arrays, num_examples: int) -> None:
    """Refuse an update that would spoil the average.

    Args:
        update: what a client sent.
        like: the global model, whose names and shapes the update must have.
        num_examples: the n that the client declared when it joined.

    Raises:
        MessageError: names the first thing that is wrong, and no value of the update.
    """
    if update.num_examples != num_examples:
        raise MessageError(f"it claims {update.num_examples} examples where its ledger says {num_examples}")
    if set(update.arrays) != set(like):
        odd = sorted(set(update.arrays) ^ set(like))[0]
        raise MessageError(f"its arrays are not the model's: {str(odd)[:60]!r} is missing or unknown")
    for name, expected in like.items():
        _check_array(name, update.arrays[name], expected)


def _check_array(name: str, array: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    if array.dtype != expected.dtype:
        raise MessageError(f"{name} is of type {array.dtype}, not {expected.dtype}")
    if array.shape != expected.shape:
        raise MessageError(f"{name} has shape {list(array.shape)}, not {list(expected.shape)}")
    if not np.isfinite(array).all():
        raise MessageError(f"{name} holds values that are not finite: lower training.learning-rate")
