"""A run's model as it is loaded, and what is wrong with a folder that holds none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from common.arrays import to_bytes
from common.errors import CheckpointError
from common.trained.loading import load_trained
from common.trained.predicting import scores_of
from common.trained.whole import whole_model
from tests.trained_runs import CLASSES, arrays_of, write_trained

CPU = torch.device("cpu")


def images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def test_a_model_has_the_runs_weights_and_classes(tmp_path) -> None:
    trained = load_trained(write_trained(tmp_path / "run").root, CPU)
    assert trained.classes == CLASSES
    assert not trained.network.training
    held = trained.network.state_dict()["fc3.weight"].numpy()
    assert np.array_equal(held, arrays_of("cnn")["fc3.weight"])
    assert trained.folder.root == tmp_path / "run"


def test_loading_leaves_torchs_random_state(tmp_path) -> None:
    root = write_trained(tmp_path / "run").root
    before = torch.random.get_rng_state()
    load_trained(root, CPU)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "model", ["cnn", "cnn-tanh", "resnet-gn", "wrn-16-4", "scatter-linear", "scatter-cnn"]
)
def test_one_module_computes_what_the_run_does(tmp_path, model) -> None:
    trained = load_trained(write_trained(tmp_path / "run", model).root, CPU)
    expected = scores_of(trained, images(5))
    assert expected.shape == (5, 10)
    assert expected.std() > 1e-3
    for given in (images(5), images(5).float()):
        assert (whole_model(trained)(given) - expected).abs().max() < 1e-4


def edited(change):
    def edit(folder) -> None:
        arrays = arrays_of("cnn")
        change(arrays)
        folder.model.write_bytes(to_bytes(arrays))

    return edit


DAMAGES = {
    "is not a run folder": lambda folder: folder.config.unlink(),
    "names the classes": lambda folder: folder.evaluation.unlink(),
    "evaluation.json: classes": lambda folder: folder.evaluation.write_text(json.dumps({"classes": ["a"]})),
    "model.safetensors is missing": lambda folder: folder.model.unlink(),
    "not a safetensors file": lambda folder: folder.model.write_bytes(folder.model.read_bytes()[:-1]),
    "the arrays lack 'fc3.bias'": edited(lambda arrays: arrays.pop("fc3.bias")),
    "not finite": edited(lambda arrays: arrays["fc3.bias"].fill(np.nan)),
    "has shape (10, 84), not (3, 84)": lambda folder: folder.evaluation.write_text(
        '{"classes": ["a","b","c"]}'
    ),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_what_holds_no_model_is_said_in_one_line(tmp_path, said) -> None:
    folder = write_trained(tmp_path / "run")
    DAMAGES[said](folder)
    with pytest.raises(CheckpointError) as caught:
        load_trained(folder.root, CPU)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
