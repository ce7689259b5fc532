"""Records side by side, and one after another again."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from client.kernels import run

LANES = 16
"""Records in a block."""


def into_lanes(rows: Tensor) -> Tensor:
    """Return records [b, ...] as [ceil(b / LANES), ..., LANES]; lanes that hold no record are zero."""
    rows = rows.contiguous()
    lanes = rows.new_empty(-(-len(rows) // LANES), *rows.shape[1:], LANES)
    run("into_lanes", len(rows), rows.shape[1:].numel(), rows, lanes)
    return lanes


def out_of_lanes(lanes: Tensor, records: int) -> Tensor:
    """Return [blocks, ..., LANES] as records [b, ...]."""
    rows = lanes.new_empty(records, *lanes.shape[1:-1])
    run("out_of_lanes", records, rows.shape[1:].numel(), lanes, rows)
    return rows


def factors_in_lanes(factors: Tensor, blocks: int) -> Tensor:
    """Return one number for each record, [b], as [blocks, LANES], zero where there is no record."""
    lanes = factors.new_zeros(blocks * LANES)
    lanes[: len(factors)] = factors
    return lanes.view(blocks, LANES)


def numbers_of(lanes: Tensor, records: int) -> Tensor:
    """Return one number for each record, [b], of [blocks, LANES]."""
    return lanes.flatten()[:records]


class Memory:
    """Memory for what lasts no longer than a batch: new pages would cost as much as the arithmetic.

    Tensors follow one another in one piece, which `begin` gives out anew.
    """

    def __init__(self) -> None:
        self._piece = torch.empty(0)
        self._used = 0

    def begin(self) -> None:
        """Begin with another batch: what was given out before is no longer needed."""
        if self._used > len(self._piece):
            self._piece = torch.empty(self._used)
        self._used = 0

    def empty(self, *shape: int) -> Tensor:
        """Return a tensor to be filled, float32.

        Raises:
            RuntimeError: when a size is negative.
        """
        if min(shape) < 0:
            raise RuntimeError(f"a tensor of {list(shape)} cannot be")
        begin, numbers = self._used, prod(shape)
        self._used += -(-numbers // LANES) * LANES
        if self._used > len(self._piece):
            return torch.empty(shape)
        return self._piece[begin : begin + numbers].view(shape)
