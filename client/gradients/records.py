"""Gradients of many records at once: their norms and their weighted sum, whether written out or not."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_PIECE = 512


class RecordGradients(Protocol):
    """One parameter's gradient for each of b records."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of records, b."""

    @abstractmethod
    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""

    @abstractmethod
    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, in the parameter's shape."""

    def add_weighted_sum(self, factors: Tensor, total: Tensor) -> None:
        """Add the weighted sum to a tensor of the parameter's shape."""
        total.add_(self.weighted_sum(factors))

    @abstractmethod
    def dense(self) -> Tensor:
        """Write the gradients out, [b, *shape of the parameter]."""

    @abstractmethod
    def without(self, records: Tensor) -> RecordGradients:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""

    @abstractmethod
    def averaged(self, views: int) -> RecordGradients:
        """Return the mean over every `views` gradients in a row, which are of one record."""


@dataclass(frozen=True, kw_only=True)
class DenseGradients(RecordGradients):
    """Gradients written out, [b, *shape of the parameter]."""

    samples: Tensor

    def __len__(self) -> int:
        """Return the number of records, b."""
        return len(self.samples)

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""
        return row_norms(self.samples.flatten(start_dim=1))

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, in the parameter's shape."""
        return (factors @ self.samples.flatten(start_dim=1)).view(self.samples.shape[1:])

    def dense(self) -> Tensor:
        """Return the gradients, [b, *shape of the parameter]."""
        return self.samples

    def without(self, records: Tensor) -> DenseGradients:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""
        return DenseGradients(samples=without_rows(self.samples, records))

    def averaged(self, views: int) -> DenseGradients:
        """Return the mean over every `views` gradients in a row."""
        return DenseGradients(samples=by_record(self.samples, views).mean(dim=1))


@dataclass(frozen=True, kw_only=True)
class OuterProducts(RecordGradients):
    """Gradients of a matrix that each record used once: the outer product of two vectors.

    The norm of an outer product is the product of the norms, and a weighted sum of outer products is one
    matrix product, so the b matrices need not exist. Source: Goodfellow 2015, "Efficient per-example
    gradient computations".

    Args:
        outputs: gradient of the layer's output, [b, rows].
        inputs: the layer's input, [b, columns].
    """

    outputs: Tensor
    inputs: Tensor

    def __len__(self) -> int:
        """Return the number of records, b."""
        return len(self.outputs)

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""
        return row_norms(self.outputs) * row_norms(self.inputs)

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, [rows, columns]."""
        return (self.outputs * factors[:, None]).T @ self.inputs

    def add_weighted_sum(self, factors: Tensor, total: Tensor) -> None:
        """Add the weighted sum to a matrix, without another one of its size."""
        total.addmm_((self.outputs * factors[:, None]).T, self.inputs)

    def dense(self) -> Tensor:
        """Write the gradients out, [b, rows, columns]."""
        return self.outputs[:, :, None] * self.inputs[:, None, :]

    def without(self, records: Tensor) -> OuterProducts:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""
        return OuterProducts(
            outputs=without_rows(self.outputs, records), inputs=without_rows(self.inputs, records)
        )

    def averaged(self, views: int) -> OuterProductMeans:
        """Return the mean over every `views` gradients in a row."""
        return OuterProductMeans(outputs=by_record(self.outputs, views), inputs=by_record(self.inputs, views))


@dataclass(frozen=True, kw_only=True)
class OuterProductMeans(RecordGradients):
    """Gradients of a matrix that are means of v outer products, over the views of each record.

    Args:
        outputs: gradient of the layer's output, [b, v, rows].
        inputs: the layer's input, [b, v, columns].
    """

    outputs: Tensor
    inputs: Tensor

    def __len__(self) -> int:
        """Return the number of records, b."""
        return len(self.outputs)

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b].

        The square is the sum, over all pairs of views, of the inner products of their outputs times those of
        their inputs: in float64, since views that cancel leave far less than the parts of that sum.
        """
        outputs, inputs = (values.double() for values in (self.outputs, self.inputs))
        squares = ((outputs @ outputs.mT) * (inputs @ inputs.mT)).sum(dim=(1, 2)).clamp(min=0.0)
        return (squares.sqrt() / self.outputs.shape[1]).to(self.outputs.dtype)

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, [rows, columns]."""
        weighted = self.outputs * (factors / self.outputs.shape[1])[:, None, None]
        return weighted.flatten(0, 1).T @ self.inputs.flatten(0, 1)

    def dense(self) -> Tensor:
        """Write the gradients out, [b, rows, columns]."""
        return self.outputs.mT @ self.inputs / self.outputs.shape[1]

    def without(self, records: Tensor) -> OuterProductMeans:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""
        return OuterProductMeans(
            outputs=without_rows(self.outputs, records), inputs=without_rows(self.inputs, records)
        )

    def averaged(self, views: int) -> DenseGradients:
        """Return the mean over every `views` gradients in a row."""
        return DenseGradients(samples=self.dense()).averaged(views)


def add(first: RecordGradients | None, second: RecordGradients) -> RecordGradients:
    """Add gradients of the same records, where a parameter is used several times in one pass."""
    return second if first is None else DenseGradients(samples=first.dense() + second.dense())


def without_rows(rows: Tensor, unwanted: Tensor) -> Tensor:
    """Return rows [b, ...] with those that are marked, bool [b], replaced by zero."""
    return rows.masked_fill(unwanted.view(-1, *[1] * (rows.dim() - 1)), 0.0)


def row_norms(rows: Tensor) -> Tensor:
    """Return the Euclidean norms of rows [b, n], [b].

    What is clipped by them must not be longer: a sum of many squares in single precision can come out too
    small by a thousandth. So the norms of short pieces are put together, in double where the device has that.
    """
    whole = rows.shape[1] // _PIECE * _PIECE
    if whole == 0:
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return norms
    pieces = torch.linalg.vector_norm(rows[:, :whole].reshape(len(rows), whole // _PIECE, _PIECE), dim=2)
    rest = torch.linalg.vector_norm(rows[:, whole:], dim=1, keepdim=True)
    together = torch.cat([pieces, rest], dim=1)
    exact = together if rows.device.type == "mps" else together.double()
    norms = torch.linalg.vector_norm(exact, dim=1)
    return norms.to(rows.dtype)


def parts_of(records: int, values_each: int, *, at_most: int) -> list[slice]:
    """Split a number of records into parts, of at least one, that hold no more than so many values."""
    size = max(1, at_most // values_each)
    return [slice(start, start + size) for start in range(0, records, size)]


def by_record(rows: Tensor, views: int) -> Tensor:
    """Return rows [b * views, ...] as [b, views, ...]."""
    return rows.reshape(-1, views, *rows.shape[1:])
