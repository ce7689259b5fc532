"""First convolutions of few channels: chosen where they fit, and equal to the library's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from client import kernels
from client.gradients.chain import LayerChain
from client.gradients.thin import ThinConvolution
from tests import layers_by_kernels
from tests.layers_by_kernels import images

pytestmark = pytest.mark.skipif(not kernels.at_hand(), reason="the kernels were not built here")


def layers(convolution: nn.Conv2d, *others: nn.Module) -> nn.Sequential:
    return layers_by_kernels.layers(convolution, *(others or (nn.ReLU(),)))


FITTING = {
    "three by three": lambda: layers(nn.Conv2d(3, 32, 3)),
    "grey": lambda: layers(nn.Conv2d(1, 16, 3)),
    "four channels": lambda: layers(nn.Conv2d(4, 48, 2)),
    "padded": lambda: layers(nn.Conv2d(3, 16, 3, padding=(2, 1))),
    "without bias": lambda: layers(nn.Conv2d(3, 80, 5, bias=False)),
    "five by three": lambda: layers(nn.Conv2d(2, 16, (5, 3), padding="same")),
    "one by one": lambda: layers(nn.Conv2d(3, 112, 1)),
}


def link_of(model: nn.Sequential) -> ThinConvolution:
    link = ThinConvolution.of(list(model))
    assert link is not None
    return link


def both(model: nn.Sequential, inputs: Tensor, *, summed: bool) -> tuple[list[Tensor], list[Tensor]]:
    return layers_by_kernels.both(link_of(model), model, inputs, summed=summed)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("name", FITTING)
def test_outputs_and_gradients_are_the_librarys(name: str, summed: bool) -> None:
    model = FITTING[name]()
    for ours, expected in zip(*both(model, images(model[0].in_channels), summed=summed), strict=True):
        assert ours.shape == expected.shape
        assert torch.allclose(ours, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("records", [0, 1, 16, 33])
def test_any_number_of_records(records: int) -> None:
    for ours, expected in zip(
        *both(FITTING["padded"](), images(3, records=records), summed=True), strict=True
    ):
        assert torch.allclose(ours, expected, rtol=1e-5, atol=1e-5 * (1 + records))


@pytest.mark.parametrize(("height", "width"), [(3, 3), (3, 9), (4, 31), (20, 5)])
def test_sides_of_every_length(height: int, width: int) -> None:
    given = images(3, height=height, width=width)
    for ours, expected in zip(*both(FITTING["three by three"](), given, summed=True), strict=True):
        assert torch.allclose(ours, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_each_records_gradients_are_its_own() -> None:
    model, given = FITTING["three by three"](), images(3, records=4)
    link = link_of(model)
    with torch.no_grad():
        outputs, kept = link.forward(given)
        _, together = link.back(kept, torch.ones_like(outputs), wanted=False)
        for record in range(4):
            alone, kept = link.forward(given[record : record + 1])
            _, own = link.back(kept, torch.ones_like(alone), wanted=False)
            for parameter in model.parameters():
                assert torch.equal(own[parameter].dense()[0], together[parameter].dense()[record])


def test_numbers_do_not_depend_on_threads() -> None:
    model, given = FITTING["three by three"](), images(3, records=40, height=40, width=40)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(both(model, given, summed=True)[0])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_spoils_its_own_record_alone(value: float) -> None:
    model, given = FITTING["three by three"](), images(3)
    given[1, 2, 5, 6] = value
    link = link_of(model)
    with torch.no_grad():
        outputs, kept = link.forward(given)
        _, of_records = link.back(kept, torch.ones_like(outputs), wanted=False)
    assert torch.equal(outputs.isfinite(), model(given).isfinite())
    for each in (outputs, *(gradients.dense() for gradients in of_records.values())):
        assert each[[0, 2]].isfinite().all()
    assert not of_records[model[0].weight].dense()[1].isfinite().all()


@pytest.mark.parametrize("size", [(2, 4, 8, 8), (3, 8, 8), (2, 3, 2, 9)])
def test_images_that_do_not_fit_are_refused_before_a_kernel_sees_them(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="images of size"):
        link_of(FITTING["three by three"]()).forward(torch.ones(size))


OTHERS = {
    "many channels": lambda: layers(nn.Conv2d(16, 16, 3)),
    "five results": lambda: layers(nn.Conv2d(3, 5, 3)),
    "groups": lambda: layers(nn.Conv2d(2, 16, 3, groups=2)),
    "dilation": lambda: layers(nn.Conv2d(3, 16, 3, dilation=2)),
    "in steps": lambda: layers(nn.Conv2d(3, 16, 3, stride=2)),
    "reflected": lambda: layers(nn.Conv2d(3, 16, 3, padding=1, padding_mode="reflect")),
    "tanh": lambda: layers(nn.Conv2d(3, 16, 3), nn.Tanh()),
    "alone": lambda: nn.Sequential(nn.Conv2d(3, 16, 3)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers_are_left_to_others(name: str) -> None:
    assert ThinConvolution.of(list(OTHERS[name]())) is None


def test_a_chain_takes_it_first_alone_and_where_what_follows_is_pooled() -> None:
    def kinds(*model: nn.Module) -> list[str]:
        chain = LayerChain.of(nn.Sequential(*model))
        assert chain is not None
        return [type(link).__name__ for link in chain._links]

    pooled = (nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2))
    first = (nn.Conv2d(3, 16, 3), nn.ReLU())
    assert kinds(*first, *pooled) == ["ThinConvolution", "PooledConvolution"]
    assert kinds(nn.Tanh(), *first, *pooled) == ["Tanh", "_Convolution", "Relu", "PooledConvolution"]
    assert "ThinConvolution" not in kinds(*first, nn.Flatten(), nn.Linear(16, 2))
