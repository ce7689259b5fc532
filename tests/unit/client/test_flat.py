"""One vector for all parameters: the same memory, the same values."""

from __future__ import annotations

import torch
from torch import nn

from client.flat import FlatParameters


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    return layers.to(memory_format=torch.channels_last)


def test_values_and_memory_order_stay() -> None:
    before, after = network(), network()
    parameters = FlatParameters(after)
    assert parameters.vector.shape == (4 * 3 * 9 + 4 + 32 + 2,)
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_what_is_done_to_the_vector_is_done_to_the_parameters_and_the_other_way_round() -> None:
    model = network()
    parameters = FlatParameters(model)
    with torch.no_grad():
        parameters.vector.fill_(3.0)
        assert all((parameter == 3.0).all() for parameter in model.parameters())
        model.load_state_dict(network().state_dict())
    assert torch.equal(torch.cat([p.flatten() for p in parameters.split(parameters.vector)]), flat(model))


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_frozen_parameters_are_left_alone() -> None:
    model = network()
    model.get_parameter("0.weight").requires_grad_(False)
    parameters = FlatParameters(model)
    parameters.vector.data.zero_()
    assert parameters.vector.shape == (4 + 32 + 2,)
    assert (model.get_parameter("0.weight") != 0).any()


def test_parts_of_a_vector_that_is_itself_a_part() -> None:
    model = network()
    parameters = FlatParameters(model)
    whole = torch.arange(1000.0)
    views = parameters.split(whole[100 : 100 + len(parameters.vector)])
    assert sorted(torch.cat([view.flatten() for view in views]).tolist()) == list(
        range(100, 100 + len(parameters.vector))
    )
