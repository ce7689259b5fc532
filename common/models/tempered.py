"""A deeper network with tanh, whose bounded activations keep gradients small enough to clip gently.

Source: Papernot et al. 2021, "Tempered Sigmoid Activations for Deep Learning with Differential Privacy", the
CIFAR-10 network; GroupNorm, which never mixes records, is added for training at small batches.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

_GROUPS = 8


def build_tempered(num_classes: int) -> nn.Module:
    """Build the network: [batch, 3, 32, 32] to [batch, num_classes]; 551,466 parameters at ten classes."""
    return nn.Sequential(
        OrderedDict(
            stage1=_stage(3, 32),
            stage2=_stage(32, 64),
            stage3=_stage(64, 128),
            flatten=nn.Flatten(),
            fc1=nn.Linear(128 * 4 * 4, 128),
            tanh=nn.Tanh(),
            fc2=nn.Linear(128, num_classes),
        )
    )


def _stage(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(
        *_layer(channels_in, channels_out), *_layer(channels_out, channels_out), nn.MaxPool2d(2)
    )


def _layer(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)
    return convolution, nn.GroupNorm(_GROUPS, channels_out), nn.Tanh()
