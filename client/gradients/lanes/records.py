"""Gradients of records that lie side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from client.gradients.lanes.layout import LANES, factors_in_lanes, numbers_of, out_of_lanes
from client.gradients.records import DenseGradients, RecordGradients
from client.kernels import run


@dataclass(frozen=True, kw_only=True)
class LanedGradients(RecordGradients):
    """One parameter's gradient for each of b records.

    Args:
        samples: [blocks, values of the parameter, LANES].
        shape: of the parameter.
        records: b.
    """

    samples: Tensor
    shape: torch.Size
    records: int

    @classmethod
    def of_all(cls, samples: Tensor, parameter: Tensor) -> LanedGradients:
        """Return the gradients of a parameter in all lanes, whether they hold a record or not."""
        return cls(samples=samples, shape=parameter.shape, records=len(samples) * LANES)

    def of_first(self, records: int) -> LanedGradients:
        """Return those of the first records, the other lanes being empty."""
        return replace(self, records=records)

    def __len__(self) -> int:
        """Return the number of records, b."""
        return self.records

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""
        blocks, values, lanes = self.samples.shape
        squares = self.samples.new_empty(blocks, lanes)
        run("squares", blocks, values, self.samples, squares)
        return numbers_of(squares, self.records).sqrt()

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, in the parameter's shape."""
        blocks, values, _ = self.samples.shape
        totals = self.samples.new_empty(self.shape)
        run("weighted_sum", blocks, values, self.samples, factors_in_lanes(factors, blocks), totals)
        return totals

    def dense(self) -> Tensor:
        """Write the gradients out, [b, *shape of the parameter]."""
        return out_of_lanes(self.samples, self.records).view(-1, *self.shape)

    def without(self, records: Tensor) -> LanedGradients:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""
        unwanted = factors_in_lanes(records, len(self.samples))
        samples = self.samples.masked_fill(unwanted[:, None], 0.0)
        return replace(self, samples=samples)

    def averaged(self, views: int) -> DenseGradients:
        """Return the mean over every `views` gradients in a row, which are of one record."""
        return DenseGradients(samples=self.dense()).averaged(views)
