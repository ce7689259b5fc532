"""Small private heads on the features of a frozen front.

Source: Tramer and Boneh 2021, "Differentially Private Learning Needs Better Features (or Much More Data)",
their linear model and their CIFAR-10 network on scattering features, which the front has standardised.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

_FILTERS = 64


def build_linear_head(input_shape: tuple[int, ...], num_classes: int, *, bias: bool = True) -> nn.Module:
    """Build a linear classifier of features [batch, *input_shape], beginning at zero.

    Its loss is convex: a random beginning would only add scores that noised steps then have to unlearn.
    """
    linear = nn.Linear(math.prod(input_shape), num_classes, bias=bias)
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), linear=linear))


def build_convolutional_head(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Build two convolutions with tanh and a linear layer, for features [batch, channels, height, width]."""
    channels, height, width = input_shape
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, _FILTERS, kernel_size=3, padding=1),
            tanh1=nn.Tanh(),
            pool=nn.MaxPool2d(2),
            conv2=nn.Conv2d(_FILTERS, _FILTERS, kernel_size=3, padding=1),
            tanh2=nn.Tanh(),
            flatten=nn.Flatten(),
            fc=nn.Linear(_FILTERS * (height // 2) * (width // 2), num_classes),
        )
    )
