"""A kernel's gradients in all their forms, against autograd record by record in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from client.gradients import convolution, rowwise
from client.gradients.convolution import _by_groups, conv2d_gradients
from client.gradients.geometry import laid_out
from client.gradients.ghost import GhostKernels
from client.gradients.records import DenseGradients, RecordGradients
from client.gradients.rowwise import RowwiseKernels

RECORDS = 5
LAYERS: dict[str, Callable[[], nn.Conv2d]] = {
    "plain": lambda: nn.Conv2d(4, 6, 3),
    "padded": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "one-pixel": lambda: nn.Conv2d(4, 6, 1),
    "whole-image": lambda: nn.Conv2d(4, 6, (9, 8)),
    "oblong": lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    "stride-leaves-pixels": lambda: nn.Conv2d(4, 6, 2, stride=3),
    "groups": lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4),
    "same": lambda: nn.Conv2d(4, 6, (3, 2), padding="same", dilation=(1, 3)),
    "valid": lambda: nn.Conv2d(4, 6, 3, padding="valid"),
    "reflected": lambda: nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"),
    "circular": lambda: nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="circular"),
}


def pass_through(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """Return made-up gradients of a layer's output."""
    return torch.randn(layer(images).shape, dtype=images.dtype)


def one_by_one(layer: nn.Conv2d, images: Tensor, backprops: Tensor) -> Tensor:
    """Return each record's gradient of the kernel, by autograd in float64."""
    layer = layer.double()
    pairs = zip(torch.split(images.double(), 1), torch.split(backprops.double(), 1), strict=True)
    rows = [torch.autograd.grad((layer(image) * back).sum(), layer.weight)[0] for image, back in pairs]
    layer.float()
    return torch.stack(rows)


def all_forms(layer: nn.Conv2d, images: Tensor, backprops: Tensor) -> dict[str, RecordGradients]:
    geometry, laid = laid_out(layer, images)
    return {
        "ghost": GhostKernels(inputs=laid, outputs=backprops, geometry=geometry),
        "groups": DenseGradients(samples=_by_groups(geometry, laid, backprops)),
        "rowwise": RowwiseKernels.of(geometry, laid, backprops),
    }


def rounding(images: Tensor, backprops: Tensor) -> Tensor:
    """Return what float32 may lose where a gradient is far smaller than the products that it is a sum of."""
    return 1e-6 * images.double().flatten(1).norm(dim=1) * backprops.double().flatten(1).norm(dim=1)


def assert_right(form: RecordGradients, expected: Tensor, lost: Tensor) -> None:
    """Hold a form to its gradients: to 1e-5 of their norm, and what rounding loses."""
    norms = expected.flatten(1).norm(dim=1)
    errors = (form.dense().double() - expected).flatten(1).norm(dim=1)
    assert (errors <= 1e-5 * norms + lost).all()
    assert ((form.norms().double() - norms).abs() <= 1e-5 * norms + lost).all()
    factors = torch.linspace(-1.0, 2.0, len(expected))
    summed = torch.tensordot(factors.double(), expected, dims=1)
    error = (form.weighted_sum(factors).double() - summed).norm()
    assert error <= (factors.double().abs() * (1e-5 * norms + lost)).sum()


@pytest.mark.parametrize("records", [1, RECORDS])
@pytest.mark.parametrize("name", LAYERS)
def test_every_form_gives_the_gradients_of_each_record_alone(name: str, records: int) -> None:
    torch.manual_seed(1)
    layer, images = LAYERS[name](), torch.randn(records, 4, 9, 8)
    backprops = pass_through(layer, images)
    expected = one_by_one(layer, images, backprops)
    for form in all_forms(layer, images, backprops).values():
        assert_right(form, expected, rounding(images, backprops))


@given(
    channels=st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 3, 20]), st.integers(1, 2)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    size=st.tuples(st.integers(5, 8), st.integers(5, 8)),
    channels_last=st.booleans(),
)
def test_odd_shapes(
    channels: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    size: tuple[int, int],
    channels_last: bool,
) -> None:
    torch.manual_seed(2)
    inwards, outwards, groups = channels
    layer = nn.Conv2d(
        *(inwards * groups, outwards * groups, kernel, stride, padding, dilation, groups), bias=False
    )
    images = torch.randn(3, inwards * groups, *size)
    if channels_last:
        images = images.to(memory_format=torch.channels_last)
    backprops = pass_through(layer, images)
    expected = one_by_one(layer, images, backprops)
    for form in all_forms(layer, images, backprops).values():
        assert_right(form, expected, rounding(images, backprops))


@pytest.mark.parametrize("name", ["plain", "oblong", "groups"])
def test_views_of_one_record_are_averaged_in_every_form(name: str) -> None:
    torch.manual_seed(5)
    layer, images = LAYERS[name](), torch.randn(6, 4, 9, 8)
    backprops = pass_through(layer, images)
    expected = one_by_one(layer, images, backprops).reshape(2, 3, *layer.weight.shape).mean(dim=1)
    for form in all_forms(layer, images, backprops).values():
        assert_right(form.averaged(3), expected, rounding(images, backprops).view(2, 3).mean(dim=1))


def test_a_norm_far_below_its_parts_is_not_lost() -> None:
    # A flat image and values that nearly cancel: in float32 this norm comes out 30 % wrong, or as zero.
    layer, images = nn.Conv2d(64, 4, 3), torch.full((2, 64, 6, 6), 100.0)
    backprops = torch.randn(2, 4, 4, 4)
    backprops -= backprops.mean(dim=(2, 3), keepdim=True)
    backprops[:, :, 0, 0] += 1e-4
    geometry, laid = laid_out(layer, images)
    ghost = GhostKernels(inputs=laid, outputs=backprops, geometry=geometry)
    exact = one_by_one(layer, images, backprops).flatten(1).norm(dim=1)
    torch.testing.assert_close(ghost.norms().double(), exact, rtol=1e-5, atol=0.0)


def test_each_shape_takes_the_form_that_costs_it_least() -> None:
    small, large = torch.randn(2, 64, 4, 4), torch.randn(2, 64, 16, 16)
    layer, first = nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(3, 64, 3)
    assert type(conv2d_gradients(layer, [small], torch.randn(2, 64, 4, 4))[layer.weight]) is GhostKernels
    assert type(conv2d_gradients(layer, [large], torch.randn(2, 64, 16, 16))[layer.weight]) is DenseGradients
    few = conv2d_gradients(first, [torch.randn(2, 3, 16, 16)], torch.randn(2, 64, 14, 14))
    assert type(few[first.weight]) is RowwiseKernels


@pytest.mark.parametrize("values", [1, 1000, 2**20])
def test_few_records_at_a_time_give_the_same(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    layer, images = LAYERS["padded"](), torch.randn(RECORDS, 4, 9, 8)
    backprops = pass_through(layer, images)
    monkeypatch.setattr(rowwise, "_IN_HAND", values)
    monkeypatch.setattr(convolution, "_IN_HAND", values)
    for form in all_forms(layer, images, backprops).values():
        assert_right(form, one_by_one(layer, images, backprops), rounding(images, backprops))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_record_that_is_not_finite_shows_in_its_norm_alone_and_can_be_left_out(bad: float) -> None:
    torch.manual_seed(4)
    layer, images = LAYERS["padded"](), torch.randn(RECORDS, 4, 9, 8)
    backprops = pass_through(layer, images)
    marked = torch.arange(RECORDS) == 2
    expected = one_by_one(layer, images, backprops).masked_fill(marked.view(-1, 1, 1, 1, 1), 0.0)
    images[2, 1, 3, 3] = bad
    for form in all_forms(layer, images, backprops).values():
        assert (form.norms().isfinite() == ~marked).all()
        assert_right_without(form.without(marked), expected)


def assert_right_without(form: RecordGradients, expected: Tensor) -> None:
    factors = torch.ones(len(expected))
    assert (form.weighted_sum(factors) - expected.sum(dim=0)).norm() <= 1e-5 * expected.norm()
    assert form.norms()[2] == 0.0
