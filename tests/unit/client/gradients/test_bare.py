"""Dropout in a chain: how much is left out, and that the way back leaves out the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from client import kernels
from client.gradients.bare import Dropout
from client.gradients.link import Kept


@pytest.fixture(params=[True, False], ids=["kernels", "library"])
def dropped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    if request.param and not kernels.at_hand():
        pytest.skip("the kernels were not built here")
    if not request.param:
        monkeypatch.setattr("client.gradients.bare._suits_kernels", lambda _: False)

    def forward(share: float, inputs: Tensor, seed: int = 1) -> tuple[Tensor, Dropout, Kept]:
        torch.manual_seed(seed)
        link = Dropout(nn.Dropout(share))
        outputs, kept = link.forward(inputs)
        return outputs, link, kept

    return forward


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.9])
def test_as_many_are_left_out_as_was_asked_and_the_mean_stays(dropped, share: float) -> None:
    count = 200_000
    outputs, _, _ = dropped(share, torch.ones(count))
    left_out = float((outputs == 0).double().mean())
    assert left_out == pytest.approx(share, abs=5 * (share * (1 - share) / count) ** 0.5)
    assert outputs[outputs != 0].unique().tolist() == pytest.approx([1 / (1 - share)])


def test_neighbours_and_draws_know_nothing_of_each_other(dropped) -> None:
    count, spread = 100_000, 5 * (0.25 / 100_000) ** 0.5
    one, other = (dropped(0.5, torch.ones(count), seed)[0] != 0 for seed in (1, 2))
    for apart in (1, 2, 16, 64, 12_544):
        assert float((one[apart:] == one[:-apart]).double().mean()) == pytest.approx(0.5, abs=spread)
    assert float((one == other).double().mean()) == pytest.approx(0.5, abs=spread)
    assert torch.equal(dropped(0.5, torch.ones(count), 1)[0] != 0, one)


@pytest.mark.parametrize("size", [(1,), (15,), (37,), (3, 5, 7), (2, 16, 5, 6)])
def test_the_way_back_leaves_out_the_same(dropped, size: tuple[int, ...]) -> None:
    inputs = torch.rand(size) + 1
    outputs, link, kept = dropped(0.4, inputs)
    gradient = link._backward(kept, torch.ones(size))
    assert gradient.shape == inputs.shape
    assert torch.allclose(outputs, inputs * gradient)


def test_nearly_all_may_be_left_out(dropped) -> None:
    assert not dropped(1 - 1e-11, torch.ones(1000))[0].any()


def test_how_numbers_lie_in_memory_changes_nothing_for_kernels() -> None:
    if not kernels.at_hand():
        pytest.skip("the kernels were not built here")
    inputs, found = torch.rand(2, 16, 5, 6), []
    for given in (inputs, inputs.to(memory_format=torch.channels_last)):
        torch.manual_seed(3)
        found.append(Dropout(nn.Dropout(0.5)).forward(given)[0])
    assert torch.equal(*found)


@pytest.mark.parametrize(("share", "trains"), [(0.5, False), (0.0, True), (1.0, True)])
def test_nothing_is_drawn_where_nothing_is_left_to_chance(share: float, trains: bool) -> None:
    layer, inputs = nn.Dropout(share).train(trains), torch.rand(4, 5)
    before = torch.get_rng_state()
    outputs, _ = Dropout(layer).forward(inputs)
    assert torch.equal(outputs, layer(inputs) if share < 1 else torch.zeros(4, 5))
    assert torch.equal(torch.get_rng_state(), before)
