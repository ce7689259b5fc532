"""The layers of a chain that have no parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from client import kernels
from client.gradients.link import Kept, Link, pair
from client.gradients.pooling import largest_of_four

_aten = torch.ops.aten


class Relu(Link):
    """max(0, x)."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output, [b, ...], and what `back` needs."""
        outputs = torch.relu(inputs)
        return outputs, (outputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        gradient: Tensor = _aten.threshold_backward.default(backprops, kept[0], 0)
        return gradient


class Tanh(Link):
    """tanh(x)."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output, [b, ...], and what `back` needs."""
        outputs = torch.tanh(inputs)
        return outputs, (outputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        gradient: Tensor = _aten.tanh_backward.default(backprops, kept[0])
        return gradient


class MaxPool(Link):
    """The largest value of each window."""

    def __init__(self, layer: nn.MaxPool2d) -> None:
        self._windows = tuple(
            list(pair(side)) for side in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        )
        self._ceil_mode = layer.ceil_mode

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output, [b, ...], and what `back` needs."""
        if self._in_squares_of_four and inputs.is_contiguous():
            outputs, places = largest_of_four(inputs)
        else:
            outputs, places = _aten.max_pool2d_with_indices.default(inputs, *self._windows, self._ceil_mode)
        return outputs, (inputs, places)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        inputs, places = kept
        gradient: Tensor = _aten.max_pool2d_with_indices_backward.default(
            backprops, inputs, *self._windows, self._ceil_mode, places
        )
        return gradient

    @property
    def _in_squares_of_four(self) -> bool:
        return self._windows == ([2, 2], [2, 2], [0, 0], [1, 1]) and not self._ceil_mode


class Dropout(Link):
    """Some numbers left out by chance, the others made larger for it. Source: Srivastava et al. 2014.

    The library's own generator draws: with kernels the seed alone, without them each number, in the order in
    which they lie in memory.
    """

    def __init__(self, layer: nn.Dropout) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output, [b, ...], and what `back` needs."""
        left_out = self._layer.p if self._layer.training else 0.0
        if not 0 < left_out < 1:
            return inputs * (1.0 - left_out), (1.0 - left_out,)
        if _suits_kernels(inputs):
            seed = int(torch.randint(2**63 - 1, ()))
            return self._left_out(inputs, seed, left_out), (seed, left_out)
        factors = torch.empty_like(inputs).uniform_().ge_(left_out).mul_(1 / (1 - left_out))
        return inputs * factors, (factors,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        if len(kept) == 2:
            return self._left_out(backprops, *kept)
        gradient: Tensor = backprops * kept[0]
        return gradient

    @staticmethod
    def _left_out(values: Tensor, seed: int, share: float) -> Tensor:
        """Leave out the values that a seed says, whatever their order in memory; make the others larger."""
        values = values.contiguous()
        kept = torch.empty_like(values)
        sizes = values.numel(), seed, min(round(share * 2**32), 2**32 - 1), 1 / (1 - share)
        kernels.run("leave_out", *sizes, values, kept)
        return kept


def _suits_kernels(values: Tensor) -> bool:
    return kernels.at_hand() and values.is_cpu and values.dtype == torch.float32


class Flatten(Link):
    """Some of a record's dimensions as one."""

    def __init__(self, layer: nn.Flatten) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output, [b, ...], and what `back` needs."""
        return self._layer(inputs), (inputs.shape,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        return backprops.reshape(kept[0])


class Free(Link):
    """Any layer without parameters."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output, [b, ...], and what `back` needs."""
        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_()
            outputs = self._layer(leaf)
        return outputs.detach(), (leaf, outputs)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        leaf, outputs = kept
        return torch.autograd.grad(outputs, leaf, backprops)[0]
