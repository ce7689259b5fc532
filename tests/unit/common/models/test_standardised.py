"""Standardised convolutions: kernels by hand, and the same convolution without its standardisation."""

from __future__ import annotations

import pytest
import torch

from common.models.standardised import StandardisedConv2d


def layer_of(weight: list[float], gain: float = 1.0) -> StandardisedConv2d:
    """Return a layer of one filter of one pixel."""
    layer = StandardisedConv2d(len(weight), 1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight).view_as(layer.weight))
        layer.gain.fill_(gain)
    return layer


def test_a_kernel_by_hand() -> None:
    # Centred, (4, 1, 1) is (2, -1, -1), of squared norm 6; epsilon is 1e-4.
    layer = layer_of([4.0, 1.0, 1.0], gain=3.0)
    with torch.no_grad():
        layer.bias.fill_(0.5)  # type: ignore[union-attr]
    images = torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1, 1)
    assert layer(images).item() == pytest.approx(3 * (2 - 10 - 100) / 6.0001**0.5 + 0.5, rel=1e-6)


def test_every_filter_has_mean_0_and_norm_1_whatever_its_weight() -> None:
    layer = StandardisedConv2d(5, 7, 3)
    with torch.no_grad():
        layer.weight.mul_(20.0).add_(3.0)
        kernel, _ = layer.standardised()
    torch.testing.assert_close(kernel.mean(dim=(1, 2, 3)), torch.zeros(7), rtol=0, atol=1e-6)
    torch.testing.assert_close(kernel.square().sum(dim=(1, 2, 3)), torch.ones(7), rtol=1e-4, atol=0)


def test_a_filter_of_equal_weights_is_zero_and_so_is_its_gradient_along_them() -> None:
    layer = layer_of([2.0, 2.0])
    layer(torch.tensor([1.0, 4.0]).view(1, 2, 1, 1)).backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.flatten().tolist() == pytest.approx([-150.0, 150.0])  # (-1.5, 1.5) / sqrt(1e-4)


@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (1, 2)])
def test_a_plain_convolution_takes_its_place(side: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = StandardisedConv2d(3, 4, side, stride=stride)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    images = torch.randn(2, 3, 9, 8)
    plain = layer.plain()
    assert type(plain) is torch.nn.Conv2d
    torch.testing.assert_close(plain(images), layer(images), rtol=1e-5, atol=1e-5)
