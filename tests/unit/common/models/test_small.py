"""The small network: its parts by hand, and what each of its two beginnings is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from client.gradients.per_example import PerExampleModule
from common.models import build_loss, build_model, initial_arrays, model_spec
from common.models.patches.bank import load_bank

NAMES = ("cnn-small", "cnn-patches")


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_summary(name: str) -> None:
    convolution, norm, linear = (3 * 25 + 1) * 64, 2 * 64, (64 * 16 + 1) * 10
    total = sum(parameter.numel() for parameter in build_model(name, num_classes=10).parameters())
    assert total == convolution + norm + linear
    assert f"{total:,} parameters" in model_spec(name).summary


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_trained(name: str) -> None:
    assert all(parameter.requires_grad for parameter in build_model(name, num_classes=10).parameters())


def test_a_response_counts_from_one_deviation_on() -> None:
    norm = build_model("cnn-small", num_classes=2).get_submodule("norm")
    assert isinstance(norm, nn.GroupNorm)
    pair = torch.tensor([1.0, -1.0] * 256).view(1, 2, 16, 16) * 3 + 7  # deviations of exactly 1
    responses = norm(pair.repeat(1, 32, 1, 1))
    assert torch.allclose(responses, (pair.repeat(1, 32, 1, 1) - 7) / 3 - 1, atol=1e-5)


def test_all_records_have_features_of_one_length() -> None:
    network = build_model("cnn-patches", num_classes=2)
    records = torch.randn(5, 3, 32, 32) * torch.tensor([0.1, 0.5, 1, 2, 4]).view(-1, 1, 1, 1)
    lengths = network[:-1](records).norm(dim=1)
    assert torch.allclose(lengths, torch.full((5,), 32.0), rtol=1e-2)  # the root of 1024 features


def test_patches_begin_as_filters_of_the_public_bank() -> None:
    weights = torch.from_numpy(initial_arrays("cnn-patches", num_classes=10, seed=0)["conv.weight"])
    first = load_bank().filters[0, :, :5, :5]
    first = (first - first.mean()) / (first - first.mean()).norm()
    assert torch.allclose(weights[0], first / 2, atol=1e-6)
    assert weights.flatten(1).norm(dim=1).allclose(torch.tensor(0.5))
    assert torch.linalg.matrix_rank(weights.flatten(1)) == 64


def test_only_the_random_beginning_depends_on_the_seed() -> None:
    for name, differs in (("cnn-small", True), ("cnn-patches", False)):
        one, other = (initial_arrays(name, num_classes=10, seed=seed)["conv.weight"] for seed in (1, 2))
        assert (one != other).any() == differs


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_records_are_theirs(name: str) -> None:
    torch.manual_seed(0)
    network = build_model(name, num_classes=3)
    nn.init.normal_(network.get_parameter("linear.weight"), std=0.1)
    records, labels, loss = torch.randn(3, 3, 32, 32), torch.tensor([0, 2, 1]), build_loss("cross-entropy")
    hooked = PerExampleModule(network)
    gradients = hooked.backward(loss(hooked(records), labels))
    names = [name for name, _ in network.named_parameters()]
    samples = {name: each.dense() for name, each in zip(names, gradients, strict=True)}
    hooked.disable_hooks()
    for record in range(3):
        alone = loss(network(records[record : record + 1]), labels[record : record + 1]).sum()
        for (n, _), own in zip(
            network.named_parameters(), torch.autograd.grad(alone, list(network.parameters())), strict=True
        ):
            assert torch.allclose(samples[n][record], own, atol=1e-5), n
