"""Gradients of convolutions whose kernels are standardised before use."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from client.gradients.convolution import kernels_of_each
from client.gradients.geometry import Geometry, laid_out
from client.gradients.records import DenseGradients, RecordGradients, parts_of, without_rows
from common.models.standardised import StandardisedConv2d, per_filter

_IN_HAND = 2**22
"""Numbers of written out gradients that are in hand at a time."""
_FILTER = (-3, -2, -1)


@dataclass(frozen=True, kw_only=True)
class Standardisation:
    """How a layer's kernel follows from its weight, as far as gradients need it.

    Args:
        kernel: standardised, before its gain, [O, C, rows, columns].
        factors: gain times scale of each filter, [O].
    """

    kernel: Tensor
    factors: Tensor

    @classmethod
    def of(cls, layer: StandardisedConv2d) -> Standardisation:
        """Return a layer's, as its weight is now."""
        with torch.no_grad():
            kernel, scale = layer.standardised()
            return cls(kernel=kernel, factors=layer.gain * scale)

    def of_weight(self, gradients: Tensor) -> Tensor:
        """Return gradients of the weight from those of the kernel, both [..., O, C, rows, columns].

        The kernel is gain * n, where n = scale * (w - mean(w)) and scale = 1 / sqrt(|w - mean(w)|^2 + eps).
        So the gradient of w is gain * scale * (g - mean(g) - n <n, g>), linear in that of the kernel, g.
        """
        along = (self.kernel * gradients).sum(dim=_FILTER, keepdim=True)
        centred = gradients - gradients.mean(dim=_FILTER, keepdim=True)
        return per_filter(self.factors) * centred.addcmul_(self.kernel, along, value=-1.0)


@dataclass(frozen=True, kw_only=True)
class StandardisedKernels(RecordGradients):
    """A standardised kernel's gradients for each of b records, by its weight; written out when needed.

    Norms are taken of gradients that are written out, a few records at a time. A weighted sum is the gradient
    of a batch whose backpropagated values are weighted, and passes through the standardisation once.

    Args:
        inputs: the layer's images, [b, C, H, W].
        outputs: gradient of its output, [b, O, H', W'].
        geometry: of the convolution.
        standardisation: of the layer.
    """

    inputs: Tensor
    outputs: Tensor
    geometry: Geometry
    standardisation: Standardisation

    def __len__(self) -> int:
        """Return the number of records, b."""
        return len(self.outputs)

    def norms(self) -> Tensor:
        """Return the Euclidean norm of each record's gradient, [b]."""
        parts = [DenseGradients(samples=self._some(part)).norms() for part in self._parts(1)]
        return torch.cat(parts) if parts else self.outputs.new_empty(0)

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Return the sum over records of factor [b] times gradient, in the weight's shape."""
        summed = self.geometry.kernel_sum(self.inputs, self.outputs * factors.view(-1, 1, 1, 1))
        return self.standardisation.of_weight(summed)

    def dense(self) -> Tensor:
        """Write the gradients out, [b, *shape of the weight]."""
        return self._some(slice(None))

    def without(self, records: Tensor) -> StandardisedKernels:
        """Return them with the gradients of the marked records, bool [b], replaced by zero."""
        inputs, outputs = without_rows(self.inputs, records), without_rows(self.outputs, records)
        return replace(self, inputs=inputs, outputs=outputs)

    def averaged(self, views: int) -> DenseGradients:
        """Return the mean over every `views` gradients in a row, written out."""
        means = self.outputs.new_empty(len(self) // views, *self.geometry.kernel)
        for part in self._parts(views):
            all_views = slice(part.start * views, part.stop * views)
            some = DenseGradients(samples=self._some(all_views)).averaged(views)
            means[part] = some.samples
        return DenseGradients(samples=means)

    def _parts(self, views: int) -> list[slice]:
        return parts_of(len(self) // views, views * self.standardisation.kernel.numel(), at_most=_IN_HAND)

    def _some(self, part: slice) -> Tensor:
        written = kernels_of_each(self.geometry, self.inputs[part], self.outputs[part])
        return self.standardisation.of_weight(written)


def standardised_gradients(
    layer: StandardisedConv2d, activations: list[Tensor], backprops: Tensor
) -> dict[Tensor, RecordGradients]:
    """Return the gradients of a standardised convolution's weight, gain and bias.

    Args:
        layer: the convolution.
        activations: its input, [b, C, H, W], alone in a list.
        backprops: gradient of its output, [b, O, H', W'].
    """
    standardisation = Standardisation.of(layer)
    geometry, images = laid_out(layer, activations[0])
    gradients: dict[Tensor, RecordGradients] = {}
    if layer.weight.requires_grad:
        gradients[layer.weight] = StandardisedKernels(
            inputs=images, outputs=backprops, geometry=geometry, standardisation=standardisation
        )
    if layer.gain.requires_grad:
        with torch.no_grad():
            ungained = layer._conv_forward(activations[0], standardisation.kernel, None)
        gradients[layer.gain] = DenseGradients(samples=(backprops * ungained).sum(dim=(2, 3)))
    if layer.bias is not None and layer.bias.requires_grad:
        gradients[layer.bias] = DenseGradients(samples=backprops.sum(dim=(2, 3)))
    return gradients
