"""The first layers of a network, with sixteen records side by side."""

from __future__ import annotations

from torch import Tensor, nn

from client.gradients.lanes.layout import LANES, Memory, into_lanes, out_of_lanes
from client.gradients.lanes.links import laned_link
from client.gradients.lanes.records import LanedGradients
from client.gradients.link import Gradients, Kept, Link, back_through
from client.kernels.parallel import threads_for_kernels

_NEAR = 2**22
"""Numbers of gradients that a processor's last cache has room for, beside all else."""


class LanedPart(Link):
    """Layers in a row, all with records side by side; before and after it records follow one another.

    What `forward` kept lies in memory that the next batch's `forward` writes to; gradients do not.

    Args:
        links: of the layers.
        memory: that they share.
        values: of all their parameters.
    """

    is_trained = True

    def __init__(self, links: list[Link], memory: Memory, *, values: int) -> None:
        self._links = links
        self._memory = memory
        self._values = values

    @property
    def most_at_once(self) -> int:
        """So many records' gradients stay near the processor until they are clipped and added up.

        They are at least a block for each thread that PyTorch may use.
        """
        return LANES * max(threads_for_kernels(), _NEAR // (LANES * self._values))

    @classmethod
    def of(cls, layers: list[nn.Module]) -> tuple[LanedPart | None, int]:
        """Return as many of the first layers as can be computed so, and their number.

        It is none where no convolution is among them: what goes in are images then, [b, C, H, W].
        """
        memory, links, taken = Memory(), list[Link](), 0
        while taken < len(layers) and (found := laned_link(layers[taken:], memory)):
            link, several = found
            links.append(link)
            taken += several
        if not any(type(layer) is nn.Conv2d for layer in layers[:taken]):
            return None, 0
        values = sum(parameter.numel() for layer in layers[:taken] for parameter in layer.parameters())
        return cls(links, memory, values=values), taken

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output of the last layer, [b, ...], and what `back` needs."""
        self._memory.begin()
        lanes, kept = into_lanes(inputs), []
        for link in self._links:
            lanes, of_link = link.forward(lanes)
            kept.append(of_link)
        return out_of_lanes(lanes, len(inputs)), (len(inputs), kept)

    def back(self, kept: Kept, backprops: Tensor, *, wanted: bool) -> tuple[Tensor, Gradients]:
        """Return the gradients of the inputs, if they are wanted, and of all layers' parameters."""
        records, of_links = kept
        backprops, found = back_through(self._links, of_links, into_lanes(backprops), wanted=wanted)
        gradients: Gradients = {
            parameter: each.of_first(records)
            for parameter, each in found.items()
            if isinstance(each, LanedGradients)
        }
        return out_of_lanes(backprops, records) if wanted else backprops, gradients

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        return self.back(kept, backprops, wanted=True)[0]
