from __future__ import annotations

import math

import pytest
import torch

from common.errors import ConfigError
from common.models import LOSSES, build_loss

OUTPUTS = torch.tensor([[0.0, 0.0], [1.0, 0.5], [math.log(3.0), 0.0]])
LABELS = torch.tensor([0, 1, 0])


def test_cross_entropy_of_each_example() -> None:
    losses = build_loss("cross-entropy")(OUTPUTS, LABELS)
    assert losses.tolist() == pytest.approx([math.log(2), math.log(1 + math.exp(0.5)), math.log(4 / 3)])


def test_squared_error_of_each_example_against_the_one_hot_label() -> None:
    losses = build_loss("mse")(OUTPUTS[:2], LABELS[:2])
    assert losses.tolist() == pytest.approx([(1 + 0) / 2, (1 + 0.25) / 2])


@pytest.mark.parametrize("name", LOSSES)
def test_an_empty_batch_has_no_losses(name: str) -> None:
    assert build_loss(name)(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).shape == (0,)


def test_an_unknown_loss_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown loss 'crossentropy': did you mean 'cross-entropy'"):
        build_loss("crossentropy")
