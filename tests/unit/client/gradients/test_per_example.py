"""Per-record gradients: against Opacus' own, against autograd record by record, and in awkward networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn
from torch.nn import functional

from client.gradients.chain import LayerChain
from client.gradients.network import RecordNetwork, record_network, summing_network
from client.gradients.per_example import PerExampleModule
from client.gradients.records import DenseGradients, OuterProducts, add
from common.models import build_model
from common.models.standardised import StandardisedConv2d
from tests.both_ways import with_and_without_kernels  # noqa: F401

RECORDS = 5


class Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = images + self.inner(images)
        return result


class Twice(nn.Module):
    """Uses one layer two times in one pass."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.layer(torch.tanh(self.layer(images)))
        return result


class ChannelScale(nn.Module):
    """A layer that Opacus has no sampler for, so that its functorch fallback is used."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 3)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale


def head(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(4))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "linear": head,
    "linear-twice": lambda: head(nn.Flatten(), nn.Linear(192, 6), Twice(nn.Linear(6, 6))),
    "linear-on-rows": lambda: head(nn.Linear(8, 5)),
    "linear-on-rows-for-kernels": lambda: head(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16, bias=False)),
    "conv": lambda: head(nn.Conv2d(3, 4, 3)),
    "conv-stride-padding-dilation": lambda: head(
        nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    ),
    "conv-groups": lambda: head(nn.Conv2d(3, 6, 3, groups=3, padding=1)),
    "conv-same": lambda: head(nn.Conv2d(3, 4, 3, padding="same")),
    "conv-without-bias": lambda: head(nn.Conv2d(3, 4, 3, bias=False)),
    "conv-twice": lambda: head(Twice(nn.Conv2d(3, 3, 3, padding=1))),
    "conv-after-conv": lambda: head(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 9, 3, stride=2)),
    "conv-after-conv-reflected": lambda: head(
        nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
    ),
    "pools": lambda: head(
        nn.Conv2d(3, 4, 3),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(4, 4, 2),
        nn.AvgPool2d(2, ceil_mode=True),
    ),
    "max-pool-of-negative-values": lambda: head(nn.Conv2d(3, 4, 3), nn.LogSigmoid(), nn.MaxPool2d((2, 3))),
    "pooled": lambda: head(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ),
    "pooled-stride-padding": lambda: head(
        nn.Conv2d(3, 32, 1),
        nn.Conv2d(32, 16, (3, 2), stride=(1, 2), padding=(2, 3)),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ),
    "dropout-of-nothing": lambda: head(nn.Conv2d(3, 4, 3), nn.Dropout(0.0)),
    "flatten-pixels": lambda: head(nn.Conv2d(3, 4, 3), nn.Flatten(2)),
    "norm-without-parameters": lambda: head(nn.Conv2d(3, 4, 3), nn.GroupNorm(1, 4, affine=False)),
    "norm-of-vectors": lambda: head(nn.Flatten(), nn.Linear(192, 6), nn.GroupNorm(1, 6)),
    "nested": lambda: head(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU())), nn.Identity()),
    "group-norm": lambda: head(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()),
    "layer-norm": lambda: head(nn.LayerNorm([3, 8, 8])),
    "in-place": lambda: head(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
    "residual": lambda: head(nn.Conv2d(3, 3, 1), Residual(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh())),
    "functorch": lambda: head(ChannelScale(), nn.Tanh()),
    "standardised": lambda: head(
        StandardisedConv2d(3, 4, 3), nn.ReLU(), StandardisedConv2d(4, 9, 3, stride=2)
    ),
    "standardised-residual": lambda: head(Residual(StandardisedConv2d(3, 3, 3), nn.Tanh())),
}


NOT_FOR_OPACUS = {"in-place", "conv-after-conv-reflected"}


def build(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model, images, labels = NETWORKS[name](), torch.randn(RECORDS, 3, 8, 8), torch.arange(RECORDS) % 4
    model(images)
    return model, images, labels


def losses(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, reduction="none")


def ours(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    wrap: Callable[[nn.Module], RecordNetwork] = record_network,
) -> dict[str, Tensor]:
    network = wrap(model)
    gradients = network.backward(losses(network(images), labels))
    return {name: each.dense() for (name, _), each in zip(model.named_parameters(), gradients, strict=True)}


@pytest.mark.parametrize("wrap", [record_network, PerExampleModule])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_each_record_alone(
    name: str, wrap: Callable[[nn.Module], RecordNetwork]
) -> None:
    model, images, labels = build(name)
    parameters = dict(model.named_parameters())
    singles = [
        torch.autograd.grad(losses(model(images[i : i + 1]), labels[i : i + 1]).sum(), [*parameters.values()])
        for i in range(RECORDS)
    ]
    expected = dict(zip(parameters, map(torch.stack, zip(*singles, strict=True)), strict=True))
    torch.testing.assert_close(ours(model, images, labels, wrap), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_sums_over_all_records_are_those_of_autograd(name: str) -> None:
    model, images, labels = build(name)
    network, parameters = summing_network(model), list(model.parameters())
    totals = [torch.ones_like(parameter) for parameter in parameters]
    for part in (slice(0, 2), slice(2, RECORDS)):
        network.add_gradients(losses(network(images[part]), labels[part]).sum() / 7, totals)
    expected = torch.autograd.grad(losses(model(images), labels).sum() / 7, parameters)
    torch.testing.assert_close(totals, [1 + gradient for gradient in expected], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - NOT_FOR_OPACUS))
def test_gradients_are_those_of_opacus(name: str) -> None:
    model, images, labels = build(name)
    wrapped = GradSampleModule(model, batch_first=True, loss_reduction="sum", strict=True)
    losses(wrapped(images.requires_grad_()), labels).sum().backward()  # type: ignore[no-untyped-call]
    expected = {name: getattr(p, "grad_sample") for name, p in model.named_parameters()}  # noqa: B009
    wrapped.to_standard_module()
    torch.testing.assert_close(ours(model, images.detach(), labels), expected, rtol=1e-4, atol=1e-5)


def test_batch_gradients_are_not_computed() -> None:
    model, images, labels = build("conv")
    ours(model, images, labels)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_parameters_get_nothing() -> None:
    model, images, labels = build("conv")
    model.get_parameter("0.weight").requires_grad_(False)
    wrapped = PerExampleModule(model)
    gradients = wrapped.backward(losses(wrapped(images), labels))
    assert [each.dense().shape[1:] for each in gradients] == [
        parameter.shape for name, parameter in model.named_parameters() if name != "0.weight"
    ]


class Offset(nn.Module):
    """Has a parameter of its own, but the batch never passes through it as a whole record each."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.table = nn.Linear(1, 2)

    def forward(self, vectors: Tensor) -> Tensor:
        result: Tensor = self.linear(vectors) + self.table(torch.ones(1, 1))
        return result


def test_a_parameter_without_a_gradient_for_each_record_is_an_error() -> None:
    wrapped = PerExampleModule(nn.Sequential(Offset()))
    outputs = wrapped(torch.ones(4, 3))
    with pytest.raises(RuntimeError, match=r"0\.table\.weight"):
        wrapped.backward(losses(outputs, torch.zeros(4, dtype=torch.int64)))


def test_the_model_itself_can_still_be_trained_without_protection() -> None:
    model, images, labels = build("conv")
    wrapped = PerExampleModule(model)
    losses(model(images), labels).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert wrapped._calls == []


CHAINS = {
    "linear": True,
    "linear-on-rows": True,
    "linear-twice": False,
    "conv-twice": False,
    "conv-stride-padding-dilation": True,
    "conv-same": True,
    "conv-after-conv-reflected": False,
    "pools": True,
    "group-norm": True,
    "norm-of-vectors": True,
    "nested": True,
    "layer-norm": False,
    "residual": False,
    "functorch": False,
    "standardised": False,
}


@pytest.mark.parametrize(("name", "is_chain"), CHAINS.items())
def test_layers_in_a_row_are_a_chain_and_all_else_has_hooks(name: str, is_chain: bool) -> None:
    assert isinstance(record_network(build(name)[0]), LayerChain if is_chain else PerExampleModule)


def test_a_chain_with_a_frozen_or_a_shared_layer_is_none() -> None:
    frozen, *_ = build("conv")
    frozen.get_parameter("0.bias").requires_grad_(False)
    shared = nn.Linear(4, 4)
    assert LayerChain.of(frozen) is None
    assert LayerChain.of(nn.Sequential(shared, nn.Tanh(), shared)) is None


@pytest.mark.parametrize("name", ["cnn", "cnn-tanh", "cnn-small", "scatter-linear", "scatter-cnn"])
def test_the_models_of_the_registry_are_chains(name: str) -> None:
    assert LayerChain.of(build_model(name, num_classes=3)) is not None


def test_a_chain_keeps_nothing_of_a_batch_that_is_over() -> None:
    model, images, labels = build("pools")
    chain = LayerChain.of(model)
    assert chain is not None
    chain.backward(losses(chain(images), labels))
    assert chain._kept == []


class TestValues:
    products = OuterProducts(
        outputs=torch.tensor([[1.0, 2.0], [0.0, 2.0]]), inputs=torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    )
    # Written out: [[3, 4], [6, 8]] with norm sqrt(125), and [[0, 0], [2, 0]] with norm 2.

    def test_outer_products_by_hand(self) -> None:
        assert self.products.dense().tolist() == [[[3, 4], [6, 8]], [[0, 0], [2, 0]]]
        assert self.products.norms().tolist() == pytest.approx([125**0.5, 2.0])
        assert self.products.weighted_sum(torch.tensor([0.5, 3.0])).tolist() == [[1.5, 2], [9, 4]]

    def test_dense_agrees(self) -> None:
        dense = DenseGradients(samples=self.products.dense())
        factors = torch.tensor([0.5, 3.0])
        torch.testing.assert_close(dense.norms(), self.products.norms())
        torch.testing.assert_close(dense.weighted_sum(factors), self.products.weighted_sum(factors))

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_marked_records_become_zero(self, bad: float) -> None:
        poisoned = OuterProducts(
            outputs=self.products.outputs.index_fill(0, torch.tensor([0]), bad),
            inputs=self.products.inputs.index_fill(0, torch.tensor([0]), bad),
        )
        marked, ones = torch.tensor([True, False]), torch.ones(2)
        for each in (poisoned, DenseGradients(samples=poisoned.dense())):
            assert each.without(marked).weighted_sum(ones).tolist() == [[0, 0], [2, 0]]
            assert each.without(marked).norms().tolist() == [0, 2]

    def test_means_of_views_by_hand(self) -> None:
        means = self.products.averaged(2)
        assert means.dense().tolist() == [[[1.5, 2], [4, 4]]]
        assert means.norms().tolist() == pytest.approx([(1.5**2 + 2**2 + 4**2 + 4**2) ** 0.5])
        assert means.weighted_sum(torch.tensor([2.0])).tolist() == [[3, 4], [8, 8]]
        assert means.without(torch.tensor([True])).norms().tolist() == [0]

    def test_views_that_cancel_leave_what_is_left(self) -> None:
        # In float32 the norm of what is left, 5e-5, would drown in that of the parts, 1e3.
        inputs = torch.tensor([[1.0], [1.0 - 1e-7]])
        near = OuterProducts(outputs=torch.tensor([[1e3], [-1e3]]), inputs=inputs).averaged(2)
        assert near.norms().item() == pytest.approx(500 * (1 - inputs.double()[1].item()), rel=1e-3)

    def test_sums(self) -> None:
        assert add(None, self.products) is self.products
        assert add(self.products, self.products).dense().tolist() == [[[6, 8], [12, 16]], [[0, 0], [4, 0]]]
