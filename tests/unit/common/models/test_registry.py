from __future__ import annotations

import pytest
import torch

from common.errors import ConfigError
from common.models import MODELS, build_model, model_spec
from common.models.spec import ModelSpec


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_lenet_has_the_parameters_of_the_tutorial() -> None:
    assert _parameters(build_model("cnn", num_classes=10)) == (
        (3 * 25 + 1) * 6 + (6 * 25 + 1) * 16 + (400 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10
    )
    assert _parameters(build_model("cnn", num_classes=10)) == 62_006


def test_the_tanh_network_has_the_parameters_of_the_paper_and_its_norms() -> None:
    norms = 2 * 2 * (32 + 64 + 128)
    assert _parameters(build_model("cnn-tanh", num_classes=10)) == 550_570 + norms


def test_residual_networks_have_the_parameters_that_their_summaries_name() -> None:
    narrow, medium, wide = 64, 128, 256
    kernels = 3 * 9 * 16 + 9 * (16 * narrow + 3 * narrow**2)
    kernels += 9 * (narrow * medium + 3 * medium**2) + 9 * (medium * wide + 3 * wide**2)
    shortcuts = 16 * narrow + narrow * medium + medium * wide
    gains_and_biases = 2 * (16 + 5 * (narrow + medium + wide))
    norms = 2 * (2 * 16 + 5 * narrow + 5 * medium + 4 * wide)
    wrn = kernels + shortcuts + gains_and_biases + norms + (wide + 1) * 10
    convolutions = 9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
    resnet = convolutions + 2 * (7 * 16 + 6 * 32 + 6 * 64) + (64 + 1) * 10
    for name, parameters in (("resnet-gn", resnet), ("wrn-16-4", wrn)):
        assert _parameters(build_model(name, num_classes=10)) == parameters
        assert f"{parameters:,} parameters" in model_spec(name).summary


@pytest.mark.parametrize("size", [8, 17, 64])
@pytest.mark.parametrize("name", ["resnet-gn", "wrn-16-4"])
def test_residual_networks_see_images_of_any_size(name: str, size: int) -> None:
    outputs = build_model(name, num_classes=100)(torch.rand(2, 3, size, size))
    assert outputs.shape == (2, 100)
    assert outputs.isfinite().all()


def test_heads_have_the_parameters_that_their_summaries_name() -> None:
    convolutions = (243 * 9 + 1) * 64 + (64 * 9 + 1) * 64
    for name, parameters in (
        ("scatter-linear", (243 * 64 + 1) * 10),
        ("scatter-cnn", convolutions + (64 * 16 + 1) * 10),
    ):
        assert _parameters(build_model(name, num_classes=10)) == parameters
        assert f"{parameters:,} parameters" in model_spec(name).summary


def test_the_linear_head_begins_without_an_opinion() -> None:
    assert not build_model("scatter-linear", num_classes=3)(torch.rand(2, 243, 8, 8)).any()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [2, 100])
def test_every_model_gives_one_output_a_class(name: str, classes: int) -> None:
    outputs = build_model(name, num_classes=classes)(torch.zeros(3, *model_spec(name).input_shape))
    assert outputs.shape == (3, classes)


@pytest.mark.parametrize("name", MODELS)
def test_no_record_of_a_batch_touches_another(name: str) -> None:
    model = build_model(name, num_classes=10)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    inputs = torch.rand(4, *model_spec(name).input_shape)
    alone = torch.cat([model(one[None]) for one in inputs])
    assert torch.allclose(model(inputs), alone, atol=1e-4)


def test_specs_carry_their_own_names() -> None:
    assert all(spec.name == name for name, spec in MODELS.items())


def test_an_unknown_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown model 'cnn-tan': did you mean 'cnn-tanh'"):
        build_model("cnn-tan", num_classes=10)


def test_a_registered_model_with_batch_norm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(name="bad", summary="", image_size=32, build=lambda _: torch.nn.BatchNorm2d(3))
    monkeypatch.setitem(MODELS, "bad", spec)
    with pytest.raises(ConfigError, match="GroupNorm"):
        build_model("bad", num_classes=10)


def test_the_rate_of_gradients_that_are_always_clipped_makes_up_for_the_clip() -> None:
    rates = model_spec("patch-linear").auto_rates
    assert rates.rate(0.1) * 0.1 == pytest.approx(rates.rate(1.0))
    assert rates.rate(None) == rates.plain
    assert model_spec("cnn").auto_rates.rate(0.1) == model_spec("cnn").auto_rates.rate(1.0)
