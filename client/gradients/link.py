"""What a layer of a chain is: forwards, backwards, and the gradients of its own parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from client.gradients.records import RecordGradients

Kept = tuple[Any, ...]
"""What a link's backward pass needs of its forward pass."""

Gradients = dict[Tensor, RecordGradients]

Totals = dict[Tensor, Tensor]
"""By parameter, what its gradients' sum over records is added to: of its shape."""

TOGETHER = 16
"""Records whose gradients a kernel adds up as they come, always the same ones, on however many threads."""


class Link(ABC):
    """A layer of a chain. It keeps nothing itself, so that what a batch left behind is in one place."""

    is_trained = False
    """Whether it has parameters."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output [b, ...] for inputs [b, ...], and what `back` needs."""

    def back(self, kept: Kept, backprops: Tensor, *, wanted: bool) -> tuple[Tensor, Gradients]:
        """Return the gradients of inputs and of the layer's own parameters from that of the output.

        Args:
            kept: of the forward pass.
            backprops: gradient of the output.
            wanted: whether anything will be done with the inputs' gradient; else it may be anything.
        """
        gradients = self._gradients(kept, backprops) if self.is_trained else {}
        return self._backward(kept, backprops) if wanted else backprops, gradients

    def back_summed(self, kept: Kept, backprops: Tensor, totals: Totals, *, wanted: bool) -> Tensor:
        """Add the sums of the own parameters' gradients to their totals; return the gradient of the inputs.

        Totals may be the parameters themselves, which change by this then, after they have been used.
        """
        backprops, gradients = self.back(kept, backprops, wanted=wanted)
        for parameter, each in gradients.items():
            ones = torch.ones(len(each), device=parameter.device, dtype=parameter.dtype)
            each.add_weighted_sum(ones, totals[parameter])
        return backprops

    @abstractmethod
    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        """Return the gradient of the inputs from that of the output."""

    def _gradients(self, kept: Kept, backprops: Tensor) -> Gradients:
        """Return the gradients of the layer's own parameters from that of its output."""
        return {}


def back_through(
    links: Sequence[Link], kept: list[Kept], backprops: Tensor, *, wanted: bool
) -> tuple[Tensor, Gradients]:
    """Go back through links in a row, no further than to the first that is trained.

    Args:
        links: in the order of the forward pass.
        kept: by each of them; emptied on the way, so that memory is free again as soon as may be.
        backprops: gradient of the last one's output.
        wanted: whether the gradient of the first one's inputs is asked for, which takes all the way.

    Returns:
        The gradient of the first link's inputs, if it is wanted, and those of all parameters.
    """
    gradients: Gradients = {}
    first = 0 if wanted else _first_trained(links)
    for number in range(len(links) - 1, first - 1, -1):
        backprops, found = links[number].back(kept.pop(), backprops, wanted=wanted or number > first)
        gradients |= found
    kept.clear()
    return backprops, gradients


def sum_back_through(links: Sequence[Link], kept: list[Kept], backprops: Tensor, totals: Totals) -> None:
    """Go back likewise, to no more than the sums of the parameters' gradients, added to their totals."""
    first = _first_trained(links)
    for number in range(len(links) - 1, first - 1, -1):
        backprops = links[number].back_summed(kept.pop(), backprops, totals, wanted=number > first)
    kept.clear()


def _first_trained(links: Sequence[Link]) -> int:
    return next(number for number, link in enumerate(links) if link.is_trained)


def pair(side: int | tuple[int, ...]) -> tuple[int, int]:
    """Return a number for each side of an image, as layers give them: one for both, or two."""
    return (side, side) if isinstance(side, int) else (side[0], side[1])
