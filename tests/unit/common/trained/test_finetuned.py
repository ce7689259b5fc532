"""Runs whose front is a backbone: pixels to scores in files, explained down to the pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.config import ModelSettings, to_toml
from common.data.folder import load_public
from common.errors import ConfigError
from common.models import pinned
from common.models.finetune.weights import load_backbone
from common.trained.attribution import USUAL, choose_methods, explained, heat_maps
from common.trained.exporting import Order, write_files
from common.trained.formats import FORMATS
from common.trained.loading import TrainedModel, load_trained
from common.trained.predicting import scores_of
from common.trained.whole import whole_model
from tests.backbones import SMALL, write_weights
from tests.trained_runs import save_images, write_trained

CPU = torch.device("cpu")


@pytest.fixture
def trained(tmp_path: Path) -> TrainedModel:
    load_backbone.cache_clear()
    weights = write_weights(tmp_path / "weights.pth", "resnet18")
    settings = {"model.weights": str(weights), "model.image-size": 32}
    return load_trained(write_trained(tmp_path / "run", "finetune:resnet18", **settings).root, CPU)


def test_files_compute_what_the_model_does_and_int8_makes_them_smaller(
    trained: TrainedModel, tmp_path: Path
) -> None:
    save_images(tmp_path, 20, by_class=True)
    test = load_public(tmp_path, image_size=32)
    order = Order(formats=("onnx",), int8=True)
    rows = {row.name: row for row in write_files(trained, order, tmp_path / "files", test, print).rows}
    assert rows["onnx"].largest_difference < 1e-4
    assert rows["onnx, int8 weights"].size_bytes < 0.35 * rows["onnx"].size_bytes
    assert 0 < rows["onnx, int8 weights"].largest_difference < 0.1
    run = FORMATS["onnx"].load(tmp_path / "files" / "model.onnx")
    assert torch.allclose(run(test.images[:3]), scores_of(trained, test.images[:3]), atol=1e-4)


def test_every_method_explains_a_backbone_to_its_pixels(trained: TrainedModel, tmp_path: Path) -> None:
    save_images(tmp_path, 10, by_class=True)
    pixels = load_public(tmp_path, image_size=32).images[0]
    model = explained(trained)
    choice = choose_methods((*USUAL, "occlusion"), model, trained.spec.name)
    assert choice.names == (*USUAL, "occlusion")
    assert not choice.remarks
    maps = heat_maps(model, pixels, 0, choice.names)
    assert all(one.shape == (32, 32) and one.isfinite().all() for one in maps)
    assert all(one.max() > 0 for one in maps[:2])


def test_only_the_head_is_the_runs_and_the_backbone_stays_in_evaluation(trained: TrainedModel) -> None:
    assert [name for name, _ in trained.network.named_parameters()] == ["linear.weight"]
    whole = whole_model(trained)
    assert not any(module.training for module in whole.modules())
    assert not any(parameter.requires_grad for parameter in whole.parameters())


def test_weights_that_are_gone_are_named(tmp_path: Path) -> None:
    load_backbone.cache_clear()
    settings = {"model.weights": str(tmp_path / "gone.pth"), "model.weights-digest": "0" * 64}
    trained = load_trained(write_trained(tmp_path / "run", f"finetune:{SMALL}", **settings).root, CPU)
    with pytest.raises(ConfigError, match=r"gone.pth' is not a file"):
        scores_of(trained, torch.zeros(1, 3, 224, 224, dtype=torch.uint8))


def test_weights_may_have_moved_but_must_be_the_runs(trained: TrainedModel, tmp_path: Path) -> None:
    load_backbone.cache_clear()
    moved = (tmp_path / "weights.pth").rename(tmp_path / "moved.pth")
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert scores_of(load_trained(trained.folder.root, CPU, weights=moved), images).isfinite().all()
    config = pinned(trained.config.model_copy(update={"model": moved_to(trained.config.model, moved)}))
    trained.folder.config.write_text(to_toml(config))
    other = write_weights(tmp_path / "other.pth", "resnet18", seed=1)
    with pytest.raises(ConfigError, match="give the run's own file"):
        scores_of(load_trained(trained.folder.root, CPU, weights=other), images)


def moved_to(model: ModelSettings, path: Path) -> ModelSettings:
    return model.model_copy(update={"weights": str(path)})
