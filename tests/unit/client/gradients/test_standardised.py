"""Gradients of standardised convolutions in all their forms, and of whole networks made of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from client.gradients import record_network, standardised
from client.gradients.layers import layer_gradients
from client.gradients.records import RecordGradients
from client.gradients.standardised import StandardisedKernels
from client.trainer import quickest_layout
from common.models import build_model
from common.models.standardised import StandardisedConv2d

RECORDS = 6
LAYERS = {"few-channels": (3, 3, 1), "strided": (12, 3, 2), "one-pixel": (12, 1, 2)}


@pytest.fixture(params=LAYERS, name="case")
def case_of(request) -> tuple[StandardisedConv2d, Tensor, Tensor]:
    torch.manual_seed(0)
    channels, side, stride = LAYERS[request.param]
    layer = StandardisedConv2d(channels, 5, side, stride=stride)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    images = torch.randn(RECORDS, channels, 7, 8)
    return layer, images, torch.randn(layer(images).shape)


def ours(layer: StandardisedConv2d, images: Tensor, backprops: Tensor) -> RecordGradients:
    return layer_gradients(layer, [images], backprops)[layer.weight]


def one_by_one(layer: StandardisedConv2d, images: Tensor, backprops: Tensor) -> dict[str, Tensor]:
    """Return each record's gradients, by autograd in float64."""
    layer = layer.double()
    parameters = dict(layer.named_parameters())
    rows = [
        torch.autograd.grad(
            (layer(images[[i]].double()) * backprops[[i]].double()).sum(), [*parameters.values()]
        )
        for i in range(RECORDS)
    ]
    layer.float()
    return {name: torch.stack(some) for name, some in zip(parameters, zip(*rows, strict=True), strict=True)}


def test_gradients_of_all_parameters_are_those_of_each_record_alone(case) -> None:
    layer = case[0]
    expected = one_by_one(*case)
    gradients = layer_gradients(layer, [case[1]], case[2])
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(
            gradients[parameter].dense().double(), expected[name], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("in_hand", [1, 2**22])
def test_norms_and_sums_are_those_of_what_is_written_out(case, in_hand, monkeypatch) -> None:
    monkeypatch.setattr(standardised, "_IN_HAND", in_hand)
    expected, kernels = one_by_one(*case)["weight"], ours(*case)
    factors = torch.rand(RECORDS)
    norms = expected.flatten(1).norm(dim=1)
    torch.testing.assert_close(kernels.norms().double(), norms, rtol=1e-5, atol=0)
    summed = torch.tensordot(factors.double(), expected, 1)
    torch.testing.assert_close(kernels.weighted_sum(factors).double(), summed, rtol=1e-5, atol=1e-5)
    assert len(kernels) == RECORDS


@pytest.mark.parametrize("in_hand", [1, 2**22])
def test_views_in_a_row_become_means(case, in_hand, monkeypatch) -> None:
    monkeypatch.setattr(standardised, "_IN_HAND", in_hand)
    means = one_by_one(*case)["weight"].view(2, 3, *case[0].weight.shape).mean(dim=1)
    torch.testing.assert_close(ours(*case).averaged(3).dense().double(), means, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_marked_records_become_zero(case, bad) -> None:
    layer, images, backprops = case
    marked = torch.tensor([True] + [False] * (RECORDS - 1))
    images = images.index_fill(0, torch.tensor([0]), bad)
    kept = ours(layer, images, backprops).without(marked)
    assert isinstance(kept, StandardisedKernels)
    assert kept.norms()[0] == 0
    expected = ours(layer, images[1:], backprops[1:])
    ones = torch.ones(RECORDS)
    torch.testing.assert_close(kept.norms()[1:], expected.norms())
    torch.testing.assert_close(kept.weighted_sum(ones), expected.weighted_sum(ones[1:]), rtol=1e-5, atol=1e-5)


def test_frozen_parameters_get_nothing(case) -> None:
    layer, images, backprops = case
    layer.gain.requires_grad_(False)
    assert set(layer_gradients(layer, [images], backprops)) == {layer.weight, layer.bias}


def both_ways(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[list[RecordGradients], list[Tensor]]:
    """Return a network's gradients of records, ours and by autograd of one record at a time."""
    network = record_network(model)
    losses = functional.cross_entropy(network(images), labels, reduction="none")
    parameters = list(model.parameters())
    rows = [
        torch.autograd.grad(functional.cross_entropy(model(images[[i]]), labels[[i]]), parameters)
        for i in range(len(images))
    ]
    return network.backward(losses), [torch.stack(some) for some in zip(*rows, strict=True)]


@pytest.mark.parametrize("size", [16, 33])
@pytest.mark.parametrize("name", ["resnet-gn", "wrn-16-4"])
def test_networks_have_the_gradients_of_each_record_alone(name: str, size: int) -> None:
    torch.manual_seed(0)
    model = quickest_layout(build_model(name, num_classes=100))
    ours, expected = both_ways(model, torch.randn(2, 3, size, size), torch.tensor([3, 99]))
    whole = torch.stack([each.flatten(1).norm(dim=1) for each in expected]).norm(dim=0)
    norms = torch.stack([each.norms() for each in ours]).norm(dim=0)
    torch.testing.assert_close(norms, whole, rtol=1e-5, atol=0)
    factors = torch.tensor([0.3, 2.0])
    for mine, theirs in zip(ours, expected, strict=True):
        difference = (mine.dense() - theirs).flatten(1).norm(dim=1)
        assert (difference < 1e-5 * whole).all()
        summed = torch.tensordot(factors, theirs, 1)
        assert (mine.weighted_sum(factors) - summed).norm() < 1e-5 * (factors * whole).norm()
