"""Convolutions whose kernels are brought to mean 0 and norm 1 before use.

Source: Qiao et al. 2019, "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization";
Brock, De and Smith 2021, "Characterizing Signal Propagation to Close the Performance Gap in Unnormalized
ResNets", for the scale by fan-in and the gain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_EPSILON = 1e-4
"""Added to the squared norm of a filter, so that one of equal weights does not become infinite."""


class StandardisedConv2d(nn.Conv2d):
    """A convolution by gain * (w - mean(w)) / sqrt(|w - mean(w)|^2 + epsilon), filter by filter, plus a bias.

    What is done to a weight depends on that weight alone, never on a record, so the gradient of each record
    passes through it on its own.

    Args:
        channels_in: of the images.
        channels_out: number of filters.
        side: height and width of the kernel, odd; images are padded so that a stride of 1 keeps their size.
        stride: pixels between two positions.
    """

    def __init__(self, channels_in: int, channels_out: int, side: int, *, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, side, stride=stride, padding=side // 2)
        self.gain = nn.Parameter(torch.ones(channels_out))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return [batch, channels_out, height, width] for [batch, channels_in, height, width]."""
        standardised, _ = self.standardised()
        outputs: Tensor = self._conv_forward(images, per_filter(self.gain) * standardised, self.bias)
        return outputs

    def standardised(self) -> tuple[Tensor, Tensor]:
        """Return the kernel before its gain, in the shape of the weight, and each filter's scale, [filters].

        The scale is what the centred weight was multiplied by.
        """
        centred = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        scale = (centred.square().sum(dim=(1, 2, 3)) + _EPSILON).rsqrt()
        return per_filter(scale) * centred, scale

    def plain(self) -> nn.Conv2d:
        """Return a plain convolution that computes the same."""
        side, stride = self.kernel_size[0], self.stride[0]
        convolution = nn.Conv2d(self.in_channels, self.out_channels, side, stride=stride, padding=side // 2)
        convolution.weight = nn.Parameter((per_filter(self.gain) * self.standardised()[0]).detach())
        convolution.bias = self.bias
        return convolution


def per_filter(values: Tensor) -> Tensor:
    """Return one value for each filter, [filters], in a form that multiplies a kernel."""
    return values.view(-1, 1, 1, 1)
