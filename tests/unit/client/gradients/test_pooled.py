"""Convolutions that are pooled at once: chosen where they fit, and equal to the library's step by step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from client import kernels
from client.gradients import matrices, pooled
from client.gradients.bare import Flatten
from client.gradients.chain import LayerChain
from client.gradients.matrices import FewVectors
from client.gradients.pooled import PooledConvolution
from client.gradients.thin import ThinConvolution
from tests import layers_by_kernels
from tests.layers_by_kernels import images

pytestmark = pytest.mark.skipif(not kernels.at_hand(), reason="the kernels were not built here")


def layers(convolution: nn.Conv2d, *others: nn.Module) -> nn.Sequential:
    return layers_by_kernels.layers(convolution, *(others or (nn.ReLU(), nn.MaxPool2d(2))))


FITTING = {
    "three by three": lambda: layers(nn.Conv2d(16, 32, 3)),
    "padded": lambda: layers(nn.Conv2d(32, 16, 3, padding=1)),
    "padded unevenly": lambda: layers(nn.Conv2d(16, 16, 3, padding=(2, 1))),
    "without bias": lambda: layers(nn.Conv2d(16, 80, 3, bias=False)),
    "many channels": lambda: layers(nn.Conv2d(112, 16, 3)),
    "one by one": lambda: layers(nn.Conv2d(16, 16, 1)),
    "five by two": lambda: layers(nn.Conv2d(16, 16, (5, 2), padding=(2, 0))),
    "in steps": lambda: layers(nn.Conv2d(16, 16, 3, stride=(2, 3), padding=2)),
}


def both(model: nn.Sequential, inputs: Tensor, *, summed: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    link = PooledConvolution.of(list(model))
    assert link is not None
    return layers_by_kernels.both(link, model, inputs, summed=summed)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("name", FITTING)
def test_outputs_and_gradients_are_the_librarys(name: str, summed: bool) -> None:
    model = FITTING[name]()
    ours, expected = both(model, images(model[0].in_channels), summed=summed)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 7), (6, 9), (8, 4), (11, 3), (3, 3)])
def test_sides_of_every_parity(height: int, width: int) -> None:
    model = layers(nn.Conv2d(16, 16, 3, padding=1))
    ours, expected = both(model, images(16, height=height, width=width))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_more_records_than_are_added_up_together() -> None:
    model = layers(nn.Conv2d(16, 16, 3))
    ours, expected = both(model, images(16, records=37, height=6, width=6), summed=True)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_the_error_is_far_below_what_is_asked_of_gradients() -> None:
    model = layers(nn.Conv2d(64, 64, 3))
    ours, _ = both(model, images(64))
    exact = model.double()(images(64).double())
    assert (ours[0] - exact).norm() / exact.norm() < 2e-6


def test_numbers_do_not_depend_on_threads() -> None:
    model, given = layers(nn.Conv2d(32, 32, 3)), images(32, records=40, height=20, width=20)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(both(model, given, summed=True)[0])
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_spoils_its_own_record_alone(value: float) -> None:
    model, given = layers(nn.Conv2d(16, 16, 3)), images(16)
    link = PooledConvolution.of(list(model))
    assert link is not None
    given[1, 3, 5, 6] = value
    with torch.no_grad():
        outputs, kept = link.forward(given)
        of_inputs, of_records = link.back(kept, torch.ones_like(outputs), wanted=True)
    assert not outputs[1].isfinite().all()
    for each in (outputs, of_inputs, *(gradients.dense() for gradients in of_records.values())):
        assert each[[0, 2]].isfinite().all()
    assert not of_records[model[0].weight].dense()[1].isfinite().all()


OTHERS = {
    "images of three channels": lambda: layers(nn.Conv2d(3, 16, 3)),
    "five results": lambda: layers(nn.Conv2d(16, 5, 3)),
    "groups": lambda: layers(nn.Conv2d(32, 32, 3, groups=2)),
    "dilation": lambda: layers(nn.Conv2d(16, 16, 3, dilation=2)),
    "reflected": lambda: layers(nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect")),
    "tanh": lambda: layers(nn.Conv2d(16, 16, 3), nn.Tanh(), nn.MaxPool2d(2)),
    "means": lambda: layers(nn.Conv2d(16, 16, 3), nn.ReLU(), nn.AvgPool2d(2)),
    "windows of three": lambda: layers(nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(3)),
    "windows that overlap": lambda: layers(nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2, stride=1)),
    "the rest of a window": lambda: layers(nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
    "no pooling": lambda: layers(nn.Conv2d(16, 16, 3), nn.ReLU()),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers_are_left_to_the_library(name: str) -> None:
    assert PooledConvolution.of(list(OTHERS[name]())) is None


def test_a_chain_takes_what_fits_wherever_it_is() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), *layers(nn.Conv2d(16, 16, 3)), nn.Flatten(), nn.Linear(16 * 4, 8)
    )
    chain = LayerChain.of(model)
    assert chain is not None
    kinds = [type(link) for link in chain._links]
    assert kinds == [ThinConvolution, PooledConvolution, Flatten, FewVectors]


@pytest.mark.parametrize("records", [1, 6, 7, 24, 25])
def test_a_linear_layer_of_few_records(records: int) -> None:
    torch.manual_seed(3)
    layer = nn.Linear(528, 12)
    inputs, slopes = torch.randn(records, 528, requires_grad=True), torch.randn(records, 12)
    outputs = layer(inputs)
    expected = torch.autograd.grad(outputs, [inputs, layer.weight, layer.bias], slopes)
    link, totals = FewVectors(layer), {each: torch.ones_like(each) for each in layer.parameters()}
    with torch.no_grad():
        found, kept = link.forward(inputs.detach())
        of_inputs = link.back_summed(kept, slopes, totals, wanted=True)
    torch.testing.assert_close(found, outputs.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(of_inputs, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        list(totals.values()), [1 + each for each in expected[1:]], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("size", [(2, 48, 8, 8), (2, 8, 8), (2, 16, 3, 3), (2, 16, 2, 9)])
def test_images_that_do_not_fit_are_refused_before_a_kernel_sees_them(size: tuple[int, ...]) -> None:
    link = PooledConvolution.of(list(layers(nn.Conv2d(16, 16, 3))))
    assert link is not None
    with pytest.raises(ValueError, match="images of size"):
        link.forward(torch.ones(size))


@pytest.mark.parametrize("columns", [48, 50, 128])
def test_vectors_that_do_not_fit_are_refused_by_the_library(columns: int) -> None:
    link = FewVectors.of(nn.Linear(64, 8))
    assert link is not None
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        link.forward(torch.ones(2, columns))


def test_weights_that_lie_otherwise_are_for_the_library() -> None:
    layer = nn.Linear(64, 8)
    layer.weight = nn.Parameter(torch.randn(64, 8).t())
    link = FewVectors.of(layer)
    assert link is not None
    inputs = torch.randn(3, 64)
    assert torch.equal(link.forward(inputs)[0], layer(inputs))


def test_a_batch_without_a_record_gives_gradients_of_zero() -> None:
    ours, _ = both(layers(nn.Conv2d(16, 16, 3)), images(16, records=0), summed=True)
    assert [len(ours[0]), len(ours[1])] == [0, 0]
    assert not any(each.any() for each in ours[2:])


def test_sizes_that_stand_in_two_languages_are_the_same() -> None:
    folder = Path(kernels.__file__).parent
    text = "".join(file.read_text() for file in folder.glob("*.[ch]"))
    found = {name: int(value) for name, value in re.findall(r"^#define (\w+) (\d+)$", text, re.MULTILINE)}
    assert (found["SIDE"] ** 2, found["TILES"]) == (pooled._POINTS, pooled._TILES)
    assert (found["ROWS"], found["BLOCK"]) == (matrices._ROWS, matrices._BLOCK)
    assert found["NOWHERE"] == pooled._FOUR


def test_a_linear_layer_may_be_changed_while_it_is_used() -> None:
    torch.manual_seed(4)
    layer = nn.Linear(48, 8)
    before = layer.weight.detach().clone()
    inputs, slopes = torch.randn(20, 48), torch.randn(20, 8)
    link = FewVectors(layer)
    with torch.no_grad():
        _, kept = link.forward(inputs)
        totals = {each: each.data for each in layer.parameters()}
        of_inputs = link.back_summed(kept, slopes, totals, wanted=True)
    torch.testing.assert_close(of_inputs, slopes @ before)
    torch.testing.assert_close(layer.weight.data, before + slopes.T @ inputs)
