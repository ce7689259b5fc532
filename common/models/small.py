"""A small convolutional network made for noise: few layers, sparse features, all of it trained.

One convolution, whose responses count only where they stand out, averages over parts of the image, and a
linear layer. Few parameters, because the norm of the noise in a gradient grows with their number.
Source: Coates and Ng 2011, "The Importance of Encoding Versus Training with Sparse Coding and Vector
Quantization", for the threshold; Tramer and Boneh 2021, section 3, for features of one norm.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from common.models.patches.bank import load_bank

_SIDE = 5
_CHANNELS_A_GROUP = 2
_PARTS = 4
_FILTER_NORM = 0.5  # near that of torch's random beginning, about 0.58
_THRESHOLD = 1.0
"""Deviations above the mean from which a response counts at first; training moves it."""


def build_small(num_classes: int, *, filters: int) -> nn.Module:
    """Build the network from a random beginning: [batch, 3, 32, 32] to [batch, num_classes].

    The norm after pooling gives every record's features the same length, so that none is clipped for being
    rich in contrast. The last layer begins at zero: a random one would only add scores to be unlearned.

    Args:
        filters: of the convolution, an even number.
    """
    norm = nn.GroupNorm(filters // _CHANNELS_A_GROUP, filters)
    nn.init.constant_(norm.bias, -_THRESHOLD)
    linear = nn.Linear(filters * _PARTS**2, num_classes)
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, filters, kernel_size=_SIDE, stride=2, padding=_SIDE // 2),
            norm=norm,
            relu=nn.ReLU(),
            pool=nn.AvgPool2d(16 // _PARTS),
            length=nn.GroupNorm(1, filters, affine=False),
            flatten=nn.Flatten(),
            linear=linear,
        )
    )


def build_small_from_patches(num_classes: int, *, filters: int) -> nn.Module:
    """Build the network whose convolution begins with public whitened patches, and is trained like the rest.

    Privacy:
        The patches come from drawn images, no private and no real one: a beginning as public as a random one.
    """
    network = build_small(num_classes, filters=filters)
    convolution = network.get_submodule("conv")
    state = {"weight": _public_filters(filters), "bias": torch.zeros(filters)}
    convolution.load_state_dict(state)
    return network


def _public_filters(number: int) -> Tensor:
    """Return the bank's first filters, cut to size, centred and of one norm, [number, 3, 5, 5]."""
    cut = load_bank().filters[:number, :, :_SIDE, :_SIDE]
    centred = cut - cut.mean(dim=(1, 2, 3), keepdim=True)
    norms: Tensor = centred.flatten(1).norm(dim=1)
    return centred / norms[:, None, None, None] * _FILTER_NORM
