"""Smaller forms of a trained network: weights as int8, or the smallest of them left out.

Privacy: both compute on the released model alone, and so cost nothing (post-processing).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from common.models.standardised import StandardisedConv2d
from common.trained.whole import WholeModel

_LARGEST = 127


class Int8Weight(nn.Module):
    """A weight as int8 with a scale for each of its outputs.

    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks", symmetric and of weights alone:
    what a layer computes with them stays float32.
    """

    scale: Tensor
    whole: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        largest = weight.detach().abs().flatten(1).amax(dim=1)
        scale = torch.where(largest > 0, largest / _LARGEST, 1.0).view(-1, *[1] * (weight.dim() - 1))
        self.register_buffer("scale", scale)
        self.register_buffer("whole", (weight.detach() / scale).round().to(torch.int8))

    def forward(self) -> Tensor:
        """Return the weight as float32."""
        weight: Tensor = self.whole.float() * self.scale
        return weight


class Int8Linear(nn.Module):
    """A linear layer with an int8 weight."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = Int8Weight(layer.weight)
        self.bias = layer.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32 [batch, outputs]."""
        return functional.linear(inputs, self.weight(), self.bias)


class Int8Convolution(nn.Module):
    """A convolution with an int8 weight."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.weight = Int8Weight(layer.weight)
        self.bias = layer.bias
        self._stride, self._padding = layer.stride, layer.padding
        self._dilation, self._groups = layer.dilation, layer.groups

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32 [batch, channels, height, width]."""
        return functional.conv2d(
            inputs, self.weight(), self.bias, self._stride, self._padding, self._dilation, self._groups
        )


def quantised(model: WholeModel) -> WholeModel:
    """Return a copy whose linear and convolution layers hold int8 weights, those of a backbone as well.

    Layers of a backbone's attention stay as they are: attention reads their weights past them.
    """
    smaller = _without_standardisation(copy.deepcopy(model))
    for parent in list(smaller.modules()):
        if isinstance(parent, nn.MultiheadAttention):
            continue
        for name, layer in list(parent.named_children()):
            setattr(parent, name, _quantised_layer(layer))
    return smaller


def _quantised_layer(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return Int8Linear(layer)
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros":
        return Int8Convolution(layer)
    return layer


def pruned(model: WholeModel, share: float) -> WholeModel:
    """Return a copy in which the smallest weights of all linear and convolution layers together are zero.

    Source: Han et al. 2015, "Learning both Weights and Connections", without training again afterwards, which
    would have to be charged.

    Args:
        model: what is copied; its front stays as it is.
        share: of those weights, above 0 and below 1.
    """
    smaller = _without_standardisation(copy.deepcopy(model))
    layers = [layer for layer in smaller.network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    weights = [(layer, "weight") for layer in layers]
    prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=share)
    for layer in layers:
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    return smaller.requires_grad_(False)


def _without_standardisation(model: WholeModel) -> WholeModel:
    """Put plain convolutions in the place of standardised ones: it is the kernel in use that gets smaller."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, StandardisedConv2d):
                setattr(parent, name, layer.plain())
    return model
