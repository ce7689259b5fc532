"""A wide residual network of standardised convolutions, made for training under noise.

Source: Zagoruyko and Komodakis 2016, "Wide Residual Networks" (depth 16, width 4); De et al. 2022, "Unlocking
High-Accuracy Differentially Private Image Classification through Scale", section 3, for GroupNorm, weight
standardisation, and the order of activation, norm and convolution, which is that of their published program.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from common.models.standardised import StandardisedConv2d

_GROUPS = 16
_WIDTH = 4
_BLOCKS_A_STAGE = 2
"""(16 - 4) / 6."""


def build_wide_resnet(num_classes: int) -> nn.Module:
    """Build WRN-16-4: [batch, 3, height, width] to [batch, num_classes].

    It has 2,753,818 parameters at ten classes. Height and width may be any: an average over what is left of
    the image takes them out.
    """
    narrow, medium, wide = 16 * _WIDTH, 32 * _WIDTH, 64 * _WIDTH
    return nn.Sequential(
        OrderedDict(
            conv=StandardisedConv2d(3, 16, 3),
            stage1=_stage(16, narrow, stride=1),
            stage2=_stage(narrow, medium, stride=2),
            stage3=_stage(medium, wide, stride=2),
            relu=nn.ReLU(),
            norm=nn.GroupNorm(_GROUPS, wide),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(wide, num_classes),
        )
    )


class _Block(nn.Module):
    """Two convolutions, each after an activation and a norm, added to what came in."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            OrderedDict(
                conv1=_convolution(channels_in, channels_out, 3, stride=stride),
                conv2=_convolution(channels_out, channels_out, 3),
            )
        )
        self.shortcut = shortcut

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.residual(images) + self.shortcut(images)
        return outputs


def _stage(channels_in: int, channels_out: int, *, stride: int) -> nn.Module:
    shortcut = _convolution(channels_in, channels_out, 1, stride=stride)
    first = _Block(channels_in, channels_out, stride=stride, shortcut=shortcut)
    others = [
        _Block(channels_out, channels_out, stride=1, shortcut=nn.Identity())
        for _ in range(_BLOCKS_A_STAGE - 1)
    ]
    return nn.Sequential(first, *others)


def _convolution(channels_in: int, channels_out: int, side: int, *, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            relu=nn.ReLU(),
            norm=nn.GroupNorm(_GROUPS, channels_in),
            conv=StandardisedConv2d(channels_in, channels_out, side, stride=stride),
        )
    )
