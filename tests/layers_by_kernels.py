"""Layers that kernels compute, held against the library."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from client.gradients.link import Link


def layers(convolution: nn.Conv2d, *others: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(convolution, *others)


def images(channels: int, *, records: int = 3, height: int = 13, width: int = 18) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(records, channels, height, width)


def both(
    link: Link, model: nn.Sequential, inputs: Tensor, *, summed: bool = False
) -> tuple[list[Tensor], list[Tensor]]:
    """Return outputs and gradients of ours, and of the library, each record weighed by another number."""
    expected_inputs = inputs.clone().requires_grad_()
    expected = model(expected_inputs)
    slopes = torch.randn(expected.shape, generator=torch.Generator().manual_seed(5))
    gradients = torch.autograd.grad(expected, [expected_inputs, *model.parameters()], slopes)
    with torch.no_grad():
        outputs, kept = link.forward(inputs)
        if summed:
            totals = {parameter: torch.zeros_like(parameter) for parameter in model.parameters()}
            of_inputs = link.back_summed(kept, slopes, totals, wanted=True)
            own = list(totals.values())
        else:
            of_inputs, of_records = link.back(kept, slopes, wanted=True)
            own = [of_records[parameter].dense().sum(dim=0) for parameter in model.parameters()]
    return [outputs, of_inputs, *own], [expected.detach(), *gradients]
