"""Runs on a frozen backbone, from folders of large images to the ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from common.config import RunConfig, read_toml, resolve
from common.data.synthetic import draw_images
from common.errors import ConfigError
from common.ledger import Reserve, read_ledger
from common.models.finetune.weights import load_backbone
from simulations.harness import resume, simulate
from tests.backbones import SMALL, write_weights


@pytest.fixture(autouse=True)
def _forget_backbones() -> None:
    load_backbone.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of 224 pixels and other sizes, in folders of two classes."""
    root = tmp_path_factory.mktemp("photographs")
    drawn = draw_images(48, np.random.default_rng(0), 224)
    for number, (pixels, label) in enumerate(zip(drawn.images, drawn.labels.tolist(), strict=True)):
        place = root / ("test" if number % 4 == 0 else "train") / ("round", "angular")[label % 2]
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        image.resize((300, 200) if number % 5 == 0 else (224, 224)).save(place / f"{number}.png")
    return root


@pytest.fixture
def config(folder: Path, tmp_path: Path):
    weights = write_weights(tmp_path / "weights.pth")

    def make(**changes: object) -> RunConfig:
        settings = {
            "data.dataset": "folder",
            "data.data-dir": str(folder),
            "data.partitioner": "iid",
            "data.min-partition-size": 1,
            "federation.num-clients": 2,
            "federation.num-server-rounds": 1,
            "model.name": f"finetune:{SMALL}",
            "model.weights": str(weights),
            "runtime.out": str(tmp_path / "run"),
            "runtime.workers": 1,
        }
        return resolve(settings, changes)

    return make


def test_a_folder_of_photographs_is_seen_at_the_size_of_the_weights(config, tmp_path):
    run = simulate(config(**{"runtime.feature-cache": str(tmp_path / "cache")}))
    assert run.report.verified
    assert 0 < run.report.epsilon <= 8
    assert {array.shape for array in run.state.arrays.values()} == {(2, 513)}
    kept = [load_file(file)["features"] for file in (tmp_path / "cache").iterdir()]
    assert {features.shape[1:] for features in kept} == {(1, 513)}


def test_settings_and_ledgers_say_which_weights_a_run_had(config, tmp_path):
    run = simulate(config(**{"model.image-size": 32}))
    digest = load_backbone(SMALL, str(tmp_path / "weights.pth")).digest
    assert read_toml(run.folder.config)["model.weights-digest"] == digest
    charges = [entry.body for entry in read_ledger(run.folder.ledger(0)).entries]
    (libraries,) = [body.libraries for body in charges if isinstance(body, Reserve)]
    assert libraries["front"] == run.report.versions["front"] == f"{SMALL}-32/1/{digest[:32]}"


def test_a_run_does_not_go_on_with_other_weights(config, tmp_path):
    run = simulate(config(**{"model.image-size": 32}))
    write_weights(tmp_path / "weights.pth", seed=1)
    load_backbone.cache_clear()
    with pytest.raises(ConfigError, match="give the run's own file"):
        resume(run.folder.root)
