"""Gradients of linear layers."""

from __future__ import annotations

from torch import Tensor, nn

from client.gradients.records import DenseGradients, OuterProducts, RecordGradients


def linear_gradients(
    layer: nn.Linear, activations: list[Tensor], backprops: Tensor
) -> dict[Tensor, RecordGradients]:
    """Return the gradients of a linear layer that saw one vector for each record.

    Args:
        layer: the layer.
        activations: its input, [b, columns], alone in a list.
        backprops: gradient of its output, [b, rows].
    """
    gradients: dict[Tensor, RecordGradients] = {}
    if layer.weight.requires_grad:
        gradients[layer.weight] = OuterProducts(outputs=backprops, inputs=activations[0])
    if layer.bias is not None and layer.bias.requires_grad:
        gradients[layer.bias] = DenseGradients(samples=backprops)
    return gradients
