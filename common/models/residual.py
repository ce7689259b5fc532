"""The 20-layer residual network for small images, with GroupNorm in place of BatchNorm.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2 (n = 3, shortcuts of type
A, which have no parameters); Wu and He 2018, "Group Normalization", for norms that never mix records.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

_GROUPS = 8
_BLOCKS_A_STAGE = 3


def build_resnet(num_classes: int) -> nn.Module:
    """Build the network: [batch, 3, height, width] to [batch, num_classes].

    It has 269,722 parameters at ten classes. Height and width may be any: an average over what is left of
    the image takes them out.
    """
    return nn.Sequential(
        OrderedDict(
            conv=_convolution(3, 16),
            norm=nn.GroupNorm(_GROUPS, 16),
            relu=nn.ReLU(),
            stage1=_stage(16, 16, stride=1),
            stage2=_stage(16, 32, stride=2),
            stage3=_stage(32, 64, stride=2),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64, num_classes),
        )
    )


class _Block(nn.Module):
    """Two convolutions with norms, added to what came in."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels_in, channels_out, stride=stride)
        self.norm1 = nn.GroupNorm(_GROUPS, channels_out)
        self.relu1 = nn.ReLU()
        self.conv2 = _convolution(channels_out, channels_out)
        self.norm2 = nn.GroupNorm(_GROUPS, channels_out)
        self.relu2 = nn.ReLU()
        self._stride = stride
        self._new_channels = channels_out - channels_in

    def forward(self, images: Tensor) -> Tensor:
        inner = self.relu1(self.norm1(self.conv1(images)))
        outputs: Tensor = self.relu2(self.norm2(self.conv2(inner)) + self._shortcut(images))
        return outputs

    def _shortcut(self, images: Tensor) -> Tensor:
        """Return every stride-th pixel, and zeros in the channels that are new."""
        if self._stride == 1 and not self._new_channels:
            return images
        thinned = images[:, :, :: self._stride, :: self._stride]
        return functional.pad(thinned, (0, 0, 0, 0, 0, self._new_channels))


def _stage(channels_in: int, channels_out: int, *, stride: int) -> nn.Module:
    first = _Block(channels_in, channels_out, stride=stride)
    return nn.Sequential(
        first, *(_Block(channels_out, channels_out, stride=1) for _ in range(_BLOCKS_A_STAGE - 1))
    )


def _convolution(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return convolution
