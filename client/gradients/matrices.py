"""Linear layers that see few records at a time, where most of the time goes into reading the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from client import kernels
from client.gradients.link import Kept, Totals
from client.gradients.links import Linear
from client.kernels.parallel import by_blocks

_ROWS, _COLUMNS = 4, 16
"""Weights have a multiple of so many rows and columns."""
_FEW, _BLOCK = 24, 256
"""Records up to which, and columns by which, it is quicker than the library."""


class FewVectors(Linear):
    """A linear layer whose way back reads its weights once.

    Args:
        layer: one that `of` takes.
    """

    @classmethod
    def of(cls, layer: nn.Module) -> FewVectors | None:
        """Return a linear layer's link, or None where its weights are not of a size that kernels take."""
        if type(layer) is not nn.Linear or layer.out_features % _ROWS or layer.in_features % _COLUMNS:
            return None
        return cls(layer)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the outputs, [b, rows], and what `back` needs."""
        layer, rows = self._layer, self._layer.out_features
        if not self._are_few(inputs):
            return super().forward(inputs)
        inputs, weights = inputs.contiguous(), layer.weight.detach()
        parts = weights.new_empty(rows // _ROWS, len(inputs), _ROWS)

        def some(part: slice) -> None:
            kernels.run(
                "matrix_forward",
                *(len(inputs), part.stop - part.start, inputs.shape[1], inputs),
                *(weights[part.start * _ROWS : part.stop * _ROWS], parts[part]),
            )

        by_blocks(some, len(parts), operations=_ROWS * inputs.numel())
        outputs = parts.transpose(0, 1).reshape(len(inputs), rows)
        return outputs if layer.bias is None else outputs.add_(layer.bias), (inputs,)

    def back_summed(self, kept: Kept, backprops: Tensor, totals: Totals, *, wanted: bool) -> Tensor:
        """Add the sums of the parameters' gradients to their totals; return the gradient of the inputs."""
        (inputs,), layer = kept, self._layer
        if not self._are_few(inputs):
            return super().back_summed(kept, backprops, totals, wanted=wanted)
        slopes, weights, total = backprops.contiguous(), layer.weight.detach(), totals[layer.weight]
        of_inputs = torch.zeros_like(inputs) if wanted else None
        columns = layer.in_features

        def some(part: slice) -> None:
            first, last = part.start * _BLOCK, min(columns, part.stop * _BLOCK)
            size = (len(inputs), layer.out_features, columns, first, last)
            kernels.run("matrix_back", *size, inputs, weights, slopes, of_inputs, total)

        by_blocks(some, -(-columns // _BLOCK), operations=2 * slopes.numel() * _BLOCK)
        if layer.bias is not None:
            totals[layer.bias].add_(slopes.sum(dim=0))
        return backprops if of_inputs is None else of_inputs

    def _are_few(self, inputs: Tensor) -> bool:
        """Say whether a kernel may take inputs; what does not fit the weights, the library refuses."""
        few = inputs.dim() == 2 and len(inputs) <= _FEW and inputs.shape[1] == self._layer.in_features
        return few and self._layer.weight.is_contiguous()
