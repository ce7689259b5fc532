from __future__ import annotations

import pytest
import torch
from torch import nn

from common.errors import ConfigError
from common.models import refuse_unsafe_layers


class _WithBuffer(nn.Module):
    def __init__(self, *, persistent: bool) -> None:
        super().__init__()
        self.register_buffer("running_total", torch.zeros(3), persistent=persistent)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.BatchNorm1d(4), "BatchNorm1d"),
        (nn.BatchNorm2d(4), "BatchNorm2d"),
        (nn.BatchNorm2d(4, track_running_stats=False), "BatchNorm2d"),
        (nn.SyncBatchNorm(4), "SyncBatchNorm"),
        (nn.LazyBatchNorm2d(), "LazyBatchNorm2d"),
        (nn.InstanceNorm2d(4, track_running_stats=True), "InstanceNorm2d"),
        (_WithBuffer(persistent=True), "_WithBuffer"),
        (_WithBuffer(persistent=False), "_WithBuffer"),
    ],
)
def test_the_layer_and_its_replacement_are_named(layer: nn.Module, kind: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), layer))
    with pytest.raises(ConfigError) as caught:
        refuse_unsafe_layers(model)
    message = str(caught.value)
    assert message.startswith(f"layer '1.1' ({kind})")
    assert "torch.nn.GroupNorm" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "layer", [nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.InstanceNorm2d(4), nn.Dropout(), nn.Linear(2, 2)]
)
def test_layers_of_single_records_are_permitted(layer: nn.Module) -> None:
    refuse_unsafe_layers(nn.Sequential(layer))
