"""All trainable parameters of a model as one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FlatParameters:
    """One vector that a model's trainable parameters are views of, from now on.

    What is done to every parameter alike, adding noise or taking a step, is one call then instead of one for
    each. Values stay as they are, and so does the order in memory of each parameter.

    Args:
        model: on its device already, its trainable parameters all of one type.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._strides = [torch.empty_like(parameter).stride() for parameter in self._parameters]
        first, size = self._parameters[0], sum(parameter.numel() for parameter in self._parameters)
        self.vector = nn.Parameter(torch.empty(size, dtype=first.dtype, device=first.device))
        for parameter, view in zip(self._parameters, self.split(self.vector.data), strict=True):
            view.copy_(parameter.data)
            parameter.data = view

    def split(self, vector: Tensor) -> list[Tensor]:
        """View a vector of the same size as the parameters, each of its shape, in the model's order."""
        views, offset = [], vector.storage_offset()
        for parameter, strides in zip(self._parameters, self._strides, strict=True):
            views.append(vector.as_strided(parameter.shape, strides, offset))
            offset += parameter.numel()
        return views
