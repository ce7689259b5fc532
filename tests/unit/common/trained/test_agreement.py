"""A file's scores against its module's: 1e-4, or what float32 is measured to lose, and nothing more."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from common.errors import ExportFailed
from common.trained.agreement import exact_scores, require_equal
from common.trained.whole import WholeModel


def network(scale: float) -> WholeModel:
    """Return a network whose float32 sums lose digits in proportion to the scale of its weights."""
    torch.manual_seed(0)
    linear = nn.Linear(3 * 64, 2)
    nn.init.normal_(linear.weight, std=scale)
    return WholeModel(nn.Identity(), nn.Sequential(nn.Flatten(), linear.requires_grad_(False)))


def images() -> torch.Tensor:
    return torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("off", "passes"), [(9e-5, True), (1.3e-4, False)])
def test_an_ordinary_model_is_held_to_the_tolerance(off, passes) -> None:
    module = network(1e-4)
    expected = module(images())
    if passes:
        require_equal("model.onnx", expected + off, module, images(), expected)
        return
    with pytest.raises(
        ExportFailed, match="model.onnx differs from the model by 0.00013, permitted is 0.0001"
    ):
        require_equal("model.onnx", expected + off, module, images(), expected)


def test_what_float32_loses_is_measured_permitted_and_said(caplog) -> None:
    module = network(10.0)
    expected = module(images())
    rounding = float((expected.double() - exact_scores(module, images())).abs().max())
    assert rounding > 1e-4
    with caplog.at_level(logging.WARNING, logger="fedledger.export"):
        require_equal("model.onnx", expected.double() + 1.5 * rounding, module, images(), expected)
    assert "model.onnx differs from torch by" in caplog.text
    with pytest.raises(ExportFailed):
        require_equal("model.onnx", expected.double() + 3 * rounding, module, images(), expected)


def test_exact_scores_are_float64() -> None:
    module = network(1.0)
    weight, bias = module.network[1].weight.double(), module.network[1].bias.double()
    assert torch.equal(exact_scores(module, images()), images().double().flatten(1) @ weight.T + bias)
