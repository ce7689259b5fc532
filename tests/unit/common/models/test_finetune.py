"""Frozen torchvision networks: which weights they have, and that a record's features are its own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import WeightsEnum, get_model

from common.config import ModelSettings, resolve
from common.errors import ConfigError
from common.models import build_model, image_size_of, pinned, spec_of
from common.models.finetune.backbone import backbones, feature_count, recipe_of, skeleton_of
from common.models.finetune.front import BackboneFeatures
from common.models.finetune.weights import load_backbone, refuse_mixing
from tests.backbones import SMALL, random_network, write_weights

CPU = torch.device("cpu")
NAME = f"finetune:{SMALL}"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "small.pth")


@pytest.fixture(autouse=True)
def _forget_backbones() -> None:
    load_backbone.cache_clear()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=generator)


def settings(weights: Path | str, name: str = NAME, **more: object) -> ModelSettings:
    return ModelSettings(name=name, weights=str(weights), **{"image_size": 32} | more)


def test_the_usual_networks_can_be_backbones() -> None:
    usual = {"resnet50", "vgg16_bn", "alexnet", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0"}
    usual |= {"densenet121", "inception_v3", "googlenet", "convnext_tiny", "squeezenet1_0", "vit_b_16"}
    assert usual <= set(backbones())


@pytest.mark.parametrize(
    ("name", "features", "size"),
    [
        ("alexnet", 4096, 224),
        ("convnext_tiny", 768, 224),
        ("densenet121", 1024, 224),
        ("efficientnet_b1", 1280, 240),
        ("googlenet", 1024, 224),
        ("inception_v3", 2048, 299),
        ("mobilenet_v2", 1280, 224),
        ("mobilenet_v3_small", 1024, 224),
        ("resnet50", 2048, 224),
        ("resnext50_32x4d", 2048, 224),
        ("shufflenet_v2_x1_0", 1024, 224),
        ("squeezenet1_1", 512, 224),
        ("vgg16", 4096, 224),
        ("vit_b_16", 768, 224),
        ("wide_resnet50_2", 2048, 224),
    ],
)
def test_features_are_what_the_last_layer_would_get(name: str, features: int, size: int) -> None:
    skeleton = skeleton_of(name)
    assert recipe_of(name).image_size == image_size_of(ModelSettings(name=f"finetune:{name}")) == size
    assert skeleton.network(torch.empty(2, 3, size, size, device="meta")).shape == (2, features)
    assert feature_count(name) == features


def test_the_head_begins_at_zero_and_needs_no_weights() -> None:
    head = build_model("finetune:resnet18", num_classes=7)
    assert head(torch.rand(3, 513)).shape == (3, 7)
    assert not any(parameter.any() for parameter in head.parameters())


@pytest.mark.parametrize("name", [SMALL, "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_a_records_features_depend_on_no_other_record(
    name: str, tmp_path: Path, images: torch.Tensor
) -> None:
    weights = write_weights(tmp_path / "weights.pth", name)
    front = spec_of(settings(weights, f"finetune:{name}")).front
    features = front.build(CPU)
    together = features(images)
    alone = torch.cat([features(image[None]) for image in images])
    assert together.shape == (5, *front.output_shape)
    assert torch.allclose(together, alone, atol=1e-5)
    others = torch.cat([images[:1], 255 - images[1:]])
    assert torch.allclose(features(others)[0], together[0], atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_a_network_that_mixes_records_is_refused() -> None:
    network = random_network("resnet18")
    refuse_mixing(network.eval(), 64)
    with pytest.raises(ConfigError, match="mixes the records of a batch"):
        refuse_mixing(network.train(), 64)


def test_statistics_of_batches_stay_as_they_are(tmp_path: Path, images: torch.Tensor) -> None:
    backbone = load_backbone("resnet18", str(write_weights(tmp_path / "weights.pth", "resnet18")))
    assert not any(module.training for module in backbone.network.modules())
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    backbone.network(images.float())
    assert all(torch.equal(before[name], value) for name, value in backbone.network.state_dict().items())


def test_features_are_centred_of_norm_one_and_end_with_a_constant(
    weights: Path, images: torch.Tensor
) -> None:
    features = spec_of(settings(weights)).front.build(CPU)(images)
    assert torch.allclose(features[:, :-1].norm(dim=1), torch.ones(5))
    assert torch.allclose(features[:, :-1].mean(dim=1), torch.zeros(5), atol=1e-6)
    assert torch.equal(features[:, -1], torch.full((5,), 0.1))


def test_features_are_those_of_torchvisions_own_network(images: torch.Tensor, tmp_path: Path) -> None:
    theirs = random_network("resnet18", seed=3).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    ours = load_backbone("resnet18", str(tmp_path / "resnet18.pth")).network
    pixels = torch.randn(2, 3, 64, 64)
    assert torch.allclose(theirs.fc(ours(pixels)), theirs(pixels), atol=1e-5)


def test_the_module_computes_what_the_front_does_and_gradients_pass(
    weights: Path, images: torch.Tensor
) -> None:
    front = spec_of(settings(weights)).front
    pixels = images.float().requires_grad_()
    features = front.module()(pixels)
    assert torch.allclose(features, front.build(CPU)(images), atol=1e-5)
    features[:, 0].sum().backward()
    assert pixels.grad.abs().sum() > 0


def test_images_are_normalised_as_the_published_weights_want_it() -> None:
    seen = []
    network = nn.Module()
    network.forward = lambda pixels: seen.append(pixels) or pixels.flatten(1)
    BackboneFeatures(network, recipe_of("resnet18"))(torch.full((1, 3, 2, 2), 255.0))
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert torch.allclose(seen[0][0, :, 0, 0], expected)


# which weights


def test_the_digest_is_of_the_weights_and_not_of_the_file_or_the_last_layer(tmp_path: Path) -> None:
    state = random_network().state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "b.safetensors")
    torch.save({name: value for name, value in state.items() if "classifier" not in name}, tmp_path / "c.pt")
    state["classifier.1.bias"] += 1
    torch.save(state, tmp_path / "d.pth")
    digests = {load_backbone(SMALL, str(path)).digest for path in sorted(tmp_path.iterdir())}
    assert len(digests) == 1
    state["features.0.weight"][0, 0, 0, 0] += 1e-3
    torch.save(state, tmp_path / "other.pth")
    assert load_backbone(SMALL, str(tmp_path / "other.pth")).digest not in digests


def test_a_front_is_named_after_backbone_size_and_weights(weights: Path, tmp_path: Path) -> None:
    other = write_weights(tmp_path / "other.pth", seed=1)
    fronts = [
        spec_of(settings(weights)).front,
        spec_of(settings(weights, image_size=40)).front,
        spec_of(settings(other)).front,
    ]
    assert len({front.version for front in fronts}) == 3
    digest = load_backbone(SMALL, str(weights)).digest
    assert fronts[0].version == f"{SMALL}-32/1/{digest[:32]}"


def test_other_weights_than_the_pinned_ones_are_refused(weights: Path, tmp_path: Path) -> None:
    config = resolve({"model.name": NAME, "model.weights": str(weights)})
    digest = pinned(config).model.weights_digest
    assert digest == load_backbone(SMALL, str(weights)).digest
    other = write_weights(tmp_path / "other.pth", seed=1)
    front = spec_of(settings(other, weights_digest=digest)).front
    assert digest[:32] in front.version
    for use in (lambda: front.build(CPU), front.module):
        with pytest.raises(ConfigError, match=f"have the digest .*, the run's have {digest[:16]}"):
            use()


def test_only_a_backbone_is_pinned(weights: Path) -> None:
    assert pinned(resolve({})) == resolve({})
    config = pinned(resolve({"model.name": NAME, "model.weights": str(weights)}))
    assert pinned(config) is config


def test_public_weights_are_torchvisions_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(self: WeightsEnum, **options: object) -> dict[str, torch.Tensor]:
        asked.append((str(self), options["weights_only"], options["check_hash"]))
        return random_network().state_dict()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fetch)
    spec_of(ModelSettings(name=NAME))
    assert asked == [("SqueezeNet1_1_Weights.IMAGENET1K_V1", True, True)]


def test_without_a_network_the_answer_says_how_to_bring_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: WeightsEnum, **options: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(ConfigError, match=r"\(URLError\): fetch https://\S+\.pth elsewhere, then --set"):
        spec_of(ModelSettings(name=NAME))


def test_a_file_cannot_run_a_program(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/harm",)

    torch.save({"features.0.weight": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(ConfigError, match="cannot be read as a state dict"):
        load_backbone(SMALL, str(tmp_path / "hostile.pth"))
    assert not (tmp_path / "harm").exists()


def test_what_is_not_this_networks_state_is_refused(weights: Path, tmp_path: Path) -> None:
    state = random_network().state_dict()
    lacking = {name: value for name, value in state.items() if name != "features.0.bias"}
    wide = state | {"features.0.bias": torch.zeros(65)}
    broken = state | {"features.0.bias": torch.full((64,), torch.nan)}
    for content, said in (
        (lacking, "it lacks 'features.0.bias'"),
        (state | {"extra": torch.zeros(1)}, "it holds an unknown 'extra'"),
        (wide, r"'features.0.bias' has shape \(65,\), not \(64,\)"),
        (broken, "not finite"),
        ({"state_dict": state}, "does not hold a state dict alone"),
        ([1, 2], "does not hold a state dict alone"),
    ):
        torch.save(content, tmp_path / "file.pth")
        with pytest.raises(ConfigError, match=said):
            load_backbone(SMALL, str(tmp_path / "file.pth"))
    with pytest.raises(ConfigError, match="not the weights of resnet18"):
        load_backbone("resnet18", str(weights))


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.pth").write_text("hello")
    (tmp_path / "notes.safetensors").write_text("hello")
    for name, said in (
        ("nothing.pth", "is not a file"),
        ("notes.pth", "cannot be read as a state dict"),
        ("notes.safetensors", "cannot be read as a state dict"),
    ):
        with pytest.raises(ConfigError, match=f"{name}' {said}"):
            load_backbone(SMALL, str(tmp_path / name))


def test_heads_of_training_alone_and_names_of_2017_are_understood(tmp_path: Path) -> None:
    with_heads = get_model("googlenet", init_weights=False).state_dict()
    torch.save(with_heads, tmp_path / "googlenet.pth")
    assert load_backbone("googlenet", str(tmp_path / "googlenet.pth")).network.transform_input
    state = get_model("densenet121").state_dict()
    old = {re.sub(r"\.(norm|conv)([12])\.", r".\1.\2.", name): value for name, value in state.items()}
    assert old.keys() != state.keys()
    torch.save(state, tmp_path / "new.pth")
    torch.save(old, tmp_path / "old.pth")
    digests = {load_backbone("densenet121", str(tmp_path / name)).digest for name in ("new.pth", "old.pth")}
    assert len(digests) == 1


# settings


def test_an_unknown_backbone_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown model 'finetune:resnet81'.* finetune:resnet18 or"):
        spec_of(ModelSettings(name="finetune:resnet81"))
    for name in ("resnet18", "resnet50"):
        with pytest.raises(ConfigError, match=f"unknown model '{name}': did you mean 'finetune:{name}'"):
            spec_of(ModelSettings(name=name))


@pytest.mark.parametrize(("name", "size"), [("alexnet", 32), ("inception_v3", 64), ("vit_b_16", 192)])
def test_a_size_that_a_network_cannot_see_is_refused(name: str, size: int) -> None:
    chosen = ModelSettings(name=f"finetune:{name}", image_size=size)
    with pytest.raises(ConfigError, match=f"model.image-size = {size} is not permitted with finetune:{name}"):
        image_size_of(chosen)


@pytest.mark.parametrize("key", ["weights", "weights-digest", "image-size"])
def test_settings_of_backbones_go_with_no_other_model(key: str) -> None:
    value = {"weights": "file.pth", "weights-digest": "0" * 64, "image-size": 64}[key]
    with pytest.raises(ConfigError, match=f"model.{key} does not go with model 'cnn'"):
        resolve({f"model.{key}": value})
    resolve({f"model.{key}": value, "model.name": NAME})


def test_a_digest_is_64_digits() -> None:
    with pytest.raises(ConfigError, match="model.weights-digest = 'abc' is not a SHA-256"):
        resolve({"model.name": NAME, "model.weights-digest": "abc"})
