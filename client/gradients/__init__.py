"""Per-record gradients of the commonest layers, each in the form that costs least."""

from __future__ import annotations

from client.gradients.convolution import conv2d_gradients
from client.gradients.linear import linear_gradients
from client.gradients.records import DenseGradients, OuterProducts, RecordGradients, add

__all__ = [
    "DenseGradients",
    "OuterProducts",
    "RecordGradients",
    "add",
    "conv2d_gradients",
    "linear_gradients",
]
