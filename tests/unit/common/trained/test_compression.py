"""Weights as int8, and without the smallest of them, by hand-computed numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.models.standardised import StandardisedConv2d
from common.trained.compression import Int8Weight, pruned, quantised
from common.trained.whole import Normalise, WholeModel


def small() -> WholeModel:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(64, 5)
    )
    return WholeModel(Normalise(), network.requires_grad_(False)).eval()


def images() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_a_weight_keeps_its_largest_and_rounds_the_others() -> None:
    held = Int8Weight(torch.tensor([[1.27, -0.504, 0.0], [0.0, 0.0, 0.0]]))
    assert held.whole.tolist() == [[127, -50, 0], [0, 0, 0]]
    assert torch.allclose(held(), torch.tensor([[1.27, -0.5, 0.0], [0.0, 0.0, 0.0]]))


def test_int8_changes_scores_a_little_and_the_model_not_at_all() -> None:
    model = small()
    before = model(images())
    smaller = quantised(model)
    after = smaller(images())
    assert 0 < (after - before).abs().max() < 0.05
    assert torch.equal(model(images()), before)
    int8 = [buffer.numel() for buffer in smaller.buffers() if buffer.dtype == torch.int8]
    assert sorted(int8) == [4 * 3 * 9, 64 * 5]
    assert not [
        name for name, _ in smaller.named_parameters() if name.endswith(".weight") and "1." not in name
    ]


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_pruning_takes_the_smallest_weights_of_all_layers_together(share) -> None:
    model = small()
    layers = [model.network[0], model.network[3]]
    weights = torch.cat([layer.weight.flatten() for layer in layers])
    smaller = pruned(model, share)
    left = torch.cat([smaller.network[place].weight.flatten() for place in (0, 3)])
    gone = round(share * len(weights))
    assert int((left == 0).sum()) == gone
    assert weights[left == 0].abs().max() <= weights[left != 0].abs().min()
    assert torch.equal(left[left != 0], weights[left != 0])
    assert torch.equal(torch.cat([layer.weight.flatten() for layer in layers]), weights)


def test_a_standardised_kernel_gets_smaller_as_it_is_used() -> None:
    torch.manual_seed(0)
    layer = StandardisedConv2d(3, 4, 3, stride=2)
    nn.init.normal_(layer.gain)
    network = nn.Sequential(layer, nn.Flatten(), nn.Linear(64, 5)).requires_grad_(False)
    model = WholeModel(Normalise(), network).eval()
    before = model(images())
    assert 0 < (quantised(model)(images()) - before).abs().max() < 0.05
    halved = pruned(model, 0.5)
    kept = torch.cat([halved.network[place].weight.flatten() for place in (0, 2)])
    used = torch.cat([layer.plain().weight.flatten(), network[2].weight.flatten()])
    assert int((kept == 0).sum()) == len(used) // 2
    assert torch.equal(kept[kept != 0], used[kept != 0])
    assert type(model.network[0]) is StandardisedConv2d
