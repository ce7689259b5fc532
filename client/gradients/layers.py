"""Per-record gradients of one layer, whatever its kind."""

from __future__ import annotations

from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.functorch import ft_compute_per_sample_gradient
from torch import Tensor, nn

from client.gradients.convolution import conv2d_gradients
from client.gradients.linear import linear_gradients
from client.gradients.records import DenseGradients, RecordGradients
from client.gradients.standardised import standardised_gradients
from common.models.standardised import StandardisedConv2d


def layer_gradients(
    layer: nn.Module, activations: list[Tensor], backprops: Tensor
) -> dict[Tensor, RecordGradients]:
    """Return the gradients of a layer's own parameters, by quicker ways than Opacus' for the commonest kinds.

    Args:
        layer: prepared for Opacus' functorch sampler where Opacus has no sampler for its kind.
        activations: its inputs, [b, ...].
        backprops: gradient of its output, [b, ...].
    """
    if type(layer) is nn.Linear and backprops.dim() == 2:
        return linear_gradients(layer, activations, backprops)
    if type(layer) is nn.Conv2d:
        return conv2d_gradients(layer, activations, backprops)
    if type(layer) is StandardisedConv2d:
        return standardised_gradients(layer, activations, backprops)
    sample = GradSampleModule.GRAD_SAMPLERS.get(type(layer), ft_compute_per_sample_gradient)
    sampled = sample(layer, activations, backprops)
    return {parameter: DenseGradients(samples=samples) for parameter, samples in sampled.items()}
