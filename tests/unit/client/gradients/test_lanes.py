"""Layers with sixteen records side by side: the library's own numbers, for each record alone."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from client import kernels
from client.gradients.chain import LayerChain
from client.gradients.lanes import LanedPart
from client.gradients.lanes.layout import LANES, into_lanes, out_of_lanes
from client.gradients.lanes.records import LanedGradients
from client.gradients.lanes.walks import Side, walks_forward
from client.gradients.records import DenseGradients, RecordGradients
from client.kernels import parallel
from common.models import build_model

pytestmark = pytest.mark.skipif(not kernels.at_hand(), reason="the kernels were not built here")


def part_of(*layers: nn.Module) -> LanedPart:
    part, taken = LanedPart.of(list(layers))
    assert part is not None
    assert taken == len(layers)
    return part


def both_ways(
    part: LanedPart, images: Tensor, backprops: Tensor
) -> tuple[Tensor, Tensor, dict[Tensor, RecordGradients]]:
    with torch.no_grad():
        outputs, kept = part.forward(images)
        gradient, found = part.back(kept, backprops, wanted=True)
    return outputs, gradient, found


def by_autograd(
    layers: nn.Sequential, images: Tensor, backprops: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return outputs, the gradient of the images, and each parameter's for each record, in float64."""
    exact = copy.deepcopy(layers).double()
    inputs = images.double().requires_grad_()
    outputs = exact(inputs)
    outputs.backward(backprops.double())
    each = []
    for image, backprop in zip(images.double(), backprops.double(), strict=True):
        exact.zero_grad()
        exact(image[None]).backward(backprop[None])
        each.append([parameter.grad.clone() for parameter in exact.parameters()])
    return outputs.detach(), inputs.grad, [torch.stack(some) for some in zip(*each, strict=True)]


def assert_same(layers: nn.Sequential, images: Tensor, *, tolerance: float = 2e-6) -> None:
    with torch.no_grad():
        backprops = torch.randn(layers(images).shape)
    outputs, gradient, found = both_ways(part_of(*layers), images, backprops)
    expected, expected_gradient, expected_of_each = by_autograd(layers, images, backprops)
    _close(outputs, expected, tolerance)
    _close(gradient, expected_gradient, tolerance)
    assert set(found) == set(layers.parameters())
    for parameter, of_each in zip(layers.parameters(), expected_of_each, strict=True):
        _close(found[parameter].dense(), of_each, tolerance)


def _close(mine: Tensor, exact: Tensor, tolerance: float) -> None:
    assert mine.shape == exact.shape
    scale = max(1.0, exact.abs().max().item()) if exact.numel() else 1.0
    torch.testing.assert_close(mine.double(), exact, rtol=tolerance, atol=10 * tolerance * scale)


@pytest.mark.parametrize("records", [1, 5, 16, 17, 40])
@pytest.mark.parametrize("shape", [(1,), (3, 5, 5), (2, 4, 8)])
def test_records_come_out_of_lanes_as_they_went_in(records: int, shape: tuple[int, ...]) -> None:
    rows = torch.randn(records, *shape)
    lanes = into_lanes(rows)
    blocks = -(-records // LANES)
    assert lanes.shape == (blocks, *shape, LANES)
    flat = lanes.movedim(-1, 1).flatten(0, 1)
    assert torch.equal(flat[:records], rows)
    assert not flat[records:].any()
    assert torch.equal(out_of_lanes(lanes, records), rows)


def test_records_may_lie_otherwise_in_memory() -> None:
    rows = torch.randn(20, 3, 4, 4).to(memory_format=torch.channels_last)
    assert torch.equal(out_of_lanes(into_lanes(rows), 20), rows)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=150, deadline=None)
@given(
    records=st.sampled_from([1, 3, 16, 19]),
    channels=st.integers(1, 5),
    filters=st.integers(1, 9),
    kernel=pairs,
    stride=pairs,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=pairs,
    beyond=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    bias=st.booleans(),
)
def test_any_convolution_is_the_librarys(
    records, channels, filters, kernel, stride, padding, dilation, beyond, bias
) -> None:
    torch.manual_seed(0)
    least = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [max(1, n - 2 * p) + more for n, p, more in zip(least, padding, beyond, strict=True)]
    layer = nn.Conv2d(channels, filters, kernel, stride, padding, dilation, bias=bias)
    assert_same(nn.Sequential(layer), torch.randn(records, channels, *size))


@pytest.mark.parametrize(
    ("channels", "filters", "kernel", "size"), [(3, 6, 5, 32), (6, 16, 5, 14), (32, 32, 3, 9), (20, 33, 1, 4)]
)
def test_convolutions_of_real_size_too(channels: int, filters: int, kernel: int, size: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, filters, kernel, padding=kernel // 2 if filters > 16 else 0)
    assert_same(nn.Sequential(layer), torch.randn(18, channels, size, size))


@pytest.mark.parametrize("window", [(2, 2), (3, 2), (1, 1)])
@pytest.mark.parametrize("stride", [(2, 2), (1, 1), (3, 1)])
@pytest.mark.parametrize("rectified", [True, False])
def test_pools_are_the_librarys_with_ties_and_overlaps(window, stride, rectified) -> None:
    torch.manual_seed(0)
    images = torch.randint(-2, 3, (18, 2, 7, 6)).float()
    inner = [nn.ReLU()] if rectified else []
    same = nn.Conv2d(2, 2, 1, bias=False)
    nn.init.dirac_(same.weight)  # so that ties stay ties
    assert_same(nn.Sequential(same, *inner, nn.MaxPool2d(window, stride)), images)


@pytest.mark.parametrize("rectified", [True, False])
def test_what_is_not_a_number_goes_through_a_pool(rectified: bool) -> None:
    images = torch.zeros(3, 1, 4, 4)
    images[1, 0, 0, 1] = torch.nan
    same = nn.Conv2d(1, 1, 1, bias=False)
    inner = [nn.ReLU()] if rectified else []
    outputs, _, _ = both_ways(part_of(same, *inner, nn.MaxPool2d(2)), images, torch.zeros(3, 1, 2, 2))
    assert outputs[1, 0, 0, 0].isnan()
    assert not outputs[[0, 2]].isnan().any()


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Tanh()])
def test_activations_are_exact_everywhere(layer: nn.Module) -> None:
    torch.manual_seed(0)
    values = torch.cat(
        [torch.linspace(-12, 12, 20_001), 10.0 ** torch.linspace(-30, 1, 3000), torch.zeros(1)]
    )
    special = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30, -1e30, -0.0, 0.625, -0.625])
    images = torch.cat([values, -values, special])[None, None, None].repeat(2, 1, 1, 1)
    same = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.dirac_(same.weight)
    backprops = torch.randn_like(images)
    with torch.no_grad():
        outputs, _ = part_of(same, layer).forward(images)
    exact = layer(images.double())
    torch.testing.assert_close(outputs.double(), exact, rtol=3e-7, atol=1e-37, equal_nan=True)
    finite = images.where(images.isfinite(), 0.0)
    _, gradient, _ = both_ways(part_of(same, layer), finite, backprops)
    inputs = finite.double().requires_grad_()
    layer(inputs).backward(backprops.double())
    torch.testing.assert_close(gradient.double(), inputs.grad, rtol=2e-6, atol=3e-7)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 6, 3), nn.ReLU()),
    )
    images, backprops = torch.randn(70, 3, 16, 16), torch.randn(70, 6, 6, 6)
    outputs, gradient, found = both_ways(part_of(*layers), images, backprops)
    monkeypatch.setattr(parallel, "_LITTLE", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    again, gradient_again, found_again = both_ways(part_of(*layers), images, backprops)
    assert torch.equal(outputs, again)
    assert torch.equal(gradient, gradient_again)
    for parameter, each in found.items():
        assert torch.equal(each.dense(), found_again[parameter].dense())


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("inner", [[], [nn.ReLU()], [nn.Tanh()], [nn.Tanh(), nn.MaxPool2d(2)]])
def test_norms_and_activations_are_the_librarys(groups: int, affine: bool, inner: list[nn.Module]) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(groups, 4, affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), norm, *inner)
    assert_same(layers, torch.randn(21, 3, 8, 7), tolerance=2e-5)


def test_a_norm_of_large_equal_values_keeps_its_digits() -> None:
    torch.manual_seed(0)
    same = nn.Conv2d(2, 2, 1, bias=False)
    nn.init.dirac_(same.weight)
    images = 100 + torch.randn(16, 2, 30, 30)
    outputs, _, _ = both_ways(part_of(same, nn.GroupNorm(1, 2)), images, torch.zeros(16, 2, 30, 30))
    expected = nn.GroupNorm(1, 2).double()(images.double())
    torch.testing.assert_close(outputs.double(), expected, rtol=0, atol=3e-5)


def test_a_record_that_is_not_finite_spoils_its_own_lane_alone() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2))
    images, backprops = torch.randn(18, 3, 8, 8), torch.randn(18, 4, 3, 3)
    part = part_of(*layers)
    _, _, clean = both_ways(part, images, backprops)
    before = [each.norms() for each in clean.values()]
    images[7, 1, 2, 3] = torch.inf
    _, _, spoilt = both_ways(part, images, backprops)
    after = [each.norms() for each in spoilt.values()]
    assert not torch.stack(after)[:, 7].isfinite().all()
    others = [number for number in range(18) if number != 7]
    assert torch.equal(torch.stack(before)[:, others], torch.stack(after)[:, others])
    unusable = torch.zeros(18, dtype=torch.bool)
    unusable[7] = True
    for each in spoilt.values():
        assert each.without(unusable).weighted_sum(torch.ones(18)).isfinite().all()


def test_lanes_that_hold_no_record_add_nothing_whatever_comes_of_them() -> None:
    torch.manual_seed(0)
    part = part_of(
        nn.Conv2d(3, 4, 3), nn.GroupNorm(4, 4, eps=0.0), nn.Tanh()
    )  # 0 / 0 where there is no image
    _, _, found = both_ways(part, torch.randn(15, 3, 8, 8), torch.randn(15, 4, 6, 6))
    for each in found.values():
        assert each.norms().isfinite().all()
        assert each.weighted_sum(torch.ones(15)).isfinite().all()


def test_a_variance_is_never_below_zero() -> None:
    same = nn.Conv2d(4, 4, 1, bias=False)
    nn.init.dirac_(same.weight)
    for value in (333.3, 1000.7):
        images = torch.full((1, 4, 224, 224), value)
        outputs, _, _ = both_ways(part_of(same, nn.GroupNorm(1, 4)), images, torch.zeros_like(images))
        assert outputs.isfinite().all()
        assert outputs.abs().max() < 0.1


@pytest.mark.parametrize("values", [36_864, 147_456, 2_359_296])
def test_norms_are_not_too_small_however_many_values_there_are(values: int) -> None:
    samples = torch.full((1, values), 64 * 2.4e-4)
    samples[0, :4] = 64.0
    exact = samples.double().norm(dim=1)
    laned = LanedGradients(samples=into_lanes(samples), shape=samples.shape[1:], records=1)
    for norms in (laned.norms(), DenseGradients(samples=samples).norms()):
        assert (norms.double() / exact - 1).abs().item() < 5e-6


def test_what_the_library_would_refuse_is_refused() -> None:
    small, part = torch.randn(2, 2, 3, 7), part_of(nn.Conv2d(2, 3, 5))
    with torch.no_grad():
        part.forward(torch.randn(2, 2, 40, 40))
        for images in (small, torch.randn(2, 2, 1, 1), torch.randn(2, 8, 6), torch.randn(2, 2, 8, 8, 8)):
            with pytest.raises(RuntimeError):
                part.forward(images)
        with pytest.raises(RuntimeError, match="smaller than a window"):
            part_of(nn.Conv2d(2, 3, 1), nn.MaxPool2d(4)).forward(small)
        with pytest.raises(ValueError, match="of its type"):
            part.forward(torch.ones(2, 2, 8, 8, dtype=torch.int32))
    with pytest.raises(RuntimeError, match="too large"):
        walks_forward(8200, 1, *2 * [Side(size=128, kernel=1, stride=1, padding=0, dilation=1)])


def test_an_empty_batch_is_no_error() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Tanh(), nn.MaxPool2d(2)]
    outputs, gradient, found = both_ways(part_of(*layers), torch.ones(0, 3, 8, 8), torch.ones(0, 4, 3, 3))
    assert outputs.shape == (0, 4, 3, 3)
    assert gradient.shape == (0, 3, 8, 8)
    for parameter, each in found.items():
        assert len(each) == 0
        assert torch.equal(each.weighted_sum(torch.ones(0)), torch.zeros_like(parameter))


def test_gradients_outlive_the_next_batch_and_batches_may_differ_in_size() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.MaxPool2d(2))
    part = part_of(*layers)
    batches = [(torch.randn(n, 3, 8, 8), torch.randn(n, 5, 2, 2)) for n in (4, 50, 17, 50)]
    together = [both_ways(part, *batch) for batch in batches]
    for batch, (_, _, found) in zip(batches, together, strict=True):
        _, _, alone = both_ways(part_of(*layers), *batch)
        for parameter, each in found.items():
            assert torch.equal(each.dense(), alone[parameter].dense())


def test_nothing_is_computed_that_is_not_wanted() -> None:
    torch.manual_seed(0)
    part = part_of(nn.Conv2d(3, 4, 3), nn.Tanh())
    images, backprops = torch.randn(4, 3, 8, 8), torch.randn(4, 4, 6, 6)
    _, _, expected = both_ways(part, images, backprops)
    with torch.no_grad():
        _, kept = part.forward(images)
        _, found = part.back(kept, backprops, wanted=False)
    assert [torch.equal(found[p].dense(), expected[p].dense()) for p in expected] == [True, True]


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(4, 4, 3, groups=2)],
        [nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")],
        [nn.Linear(3, 4)],
        [nn.GroupNorm(1, 3), nn.ReLU()],
        [nn.Conv2d(3, 4, 3, padding=-1)],
    ],
)
def test_other_layers_are_left_to_the_library(layers: list[nn.Module]) -> None:
    assert LanedPart.of(layers) == (None, 0)


def test_a_part_ends_where_a_layer_is_another() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, padding=1), nn.Flatten()]
    assert LanedPart.of(layers)[1] == 1
    assert LanedPart.of([nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()])[1] == 3
    assert LanedPart.of([nn.Conv2d(3, 4, 3), nn.MaxPool2d(0, stride=1)])[1] == 1


def test_images_of_other_channels_are_refused() -> None:
    for layers in ([nn.Conv2d(3, 4, 3)], [nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 6)]):
        with pytest.raises(RuntimeError, match="channels, and the layer is for"), torch.no_grad():
            part_of(*layers).forward(torch.randn(2, 2, 8, 8))


@pytest.mark.parametrize(
    ("name", "threads", "most"),
    [("cnn", 1, 1456), ("cnn-tanh", 1, LANES), ("cnn-tanh", 3, 3 * LANES), ("linear", 1, None)],
)
def test_large_gradients_are_taken_in_parts(
    name: str, threads: int, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model = linear if name == "linear" else build_model(name, num_classes=10)
    chain = LayerChain.of(model)
    assert chain is not None
    assert chain.most_at_once == most


class TestLanedGradients:
    @pytest.fixture(params=[1, 16, 21])
    def pair(self, request: pytest.FixtureRequest) -> tuple[LanedGradients, DenseGradients]:
        torch.manual_seed(0)
        samples = torch.randn(request.param, 7, 3, 5)
        laned = LanedGradients(
            samples=into_lanes(samples.flatten(1)), shape=samples.shape[1:], records=len(samples)
        )
        return laned, DenseGradients(samples=samples)

    def test_everything_that_is_asked_of_them_is_as_if_written_out(self, pair) -> None:
        laned, dense = pair
        assert len(laned) == len(dense)
        torch.testing.assert_close(laned.norms(), dense.norms())
        factors = torch.rand(len(dense))
        torch.testing.assert_close(laned.weighted_sum(factors), dense.weighted_sum(factors))
        total = torch.ones(dense.samples.shape[1:])
        laned.add_weighted_sum(factors, total)
        torch.testing.assert_close(total, 1 + dense.weighted_sum(factors))
        assert torch.equal(laned.dense(), dense.dense())
        marked = torch.rand(len(dense)) < 0.5
        assert torch.equal(laned.without(marked).dense(), dense.without(marked).dense())

    def test_views_are_averaged(self) -> None:
        samples = torch.randn(6, 4)
        laned = LanedGradients(samples=into_lanes(samples), shape=samples.shape[1:], records=6)
        expected = DenseGradients(samples=samples).averaged(3).dense()
        assert torch.equal(laned.averaged(3).dense(), expected)
