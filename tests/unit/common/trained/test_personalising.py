"""A personal model: what is held out, what is gained, and what is left as it was."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest
import torch

from common.arrays import digest, to_bytes
from common.data import ImageData
from common.errors import ConfigError, DataError
from common.trained.loading import TrainedModel, load_trained
from common.trained.personal_folder import refuse_place, write_personal
from common.trained.personalising import Plan, _divide, personalise
from common.trained.predicting import scores_of
from tests.trained_runs import CLASSES, arrays_of, write_trained

CPU = torch.device("cpu")
PLAN = Plan(epochs=4, learning_rate=0.05, held_out=0.25)


def dark_and_bright(count: int) -> ImageData:
    """Return images of the first class, which are dark, and of the second, which are bright."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 60, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 2
    images[labels == 1] += 190
    return ImageData(images=images, labels=labels, classes=CLASSES)


@pytest.fixture
def trained(tmp_path) -> TrainedModel:
    return load_trained(write_trained(tmp_path / "run").root, CPU)


def test_a_share_of_each_class_is_held_out_and_never_all_of_one() -> None:
    labels = np.repeat([0, 1, 2, 3], [20, 2, 1, 3])
    kept, held = _divide(labels, 0.2, seed=0)
    assert sorted([*kept, *held]) == list(range(26))
    assert np.bincount(labels[held], minlength=4).tolist() == [4, 1, 0, 1]
    again, other = _divide(labels, 0.2, seed=0)[1], _divide(labels, 0.2, seed=1)[1]
    assert held.tolist() == again.tolist() != other.tolist()


def test_however_large_the_share_something_is_left_to_train_on() -> None:
    kept, held = _divide(np.repeat([0, 1], 5), 0.99, seed=0)
    assert (len(kept), len(held)) == (2, 8)


def test_without_two_images_of_a_class_nothing_can_be_measured() -> None:
    with pytest.raises(DataError, match="no class has two images"):
        _divide(np.array([0, 1, 2]), 0.5, seed=0)


def test_a_model_of_ones_own_is_better_at_ones_own_images(trained) -> None:
    personal = personalise(trained, dark_and_bright(80), PLAN)
    assert (personal.num_trained, personal.num_held_out) == (60, 20)
    assert personal.before < 0.6
    assert personal.after == 1.0


def test_figures_are_those_of_the_held_out_images_alone(trained, monkeypatch) -> None:
    images = dark_and_bright(40)
    wrong = ImageData(images=images.images, labels=images.labels.clone(), classes=CLASSES)
    held = _divide(images.labels.numpy(), 0.25, seed=0)[1]
    wrong.labels[held] = 9  # trained on right labels, measured on wrong ones
    monkeypatch.setattr(
        "common.trained.personalising._divide", lambda *_: (np.delete(np.arange(40), held), held)
    )
    assert personalise(trained, wrong, PLAN).after == 0.0


@pytest.mark.parametrize("model", ["cnn", "cnn-small", "patch-linear"])
def test_the_same_images_give_the_same_model_and_the_runs_is_left_alone(tmp_path, model) -> None:
    trained = load_trained(write_trained(tmp_path / "run", model).root, CPU)
    before, state = digest(trained_arrays(trained)), torch.random.get_rng_state()
    plan = Plan(epochs=1, learning_rate=0.05, held_out=0.5)
    first, again = (personalise(trained, dark_and_bright(40), plan).arrays for _ in range(2))
    assert to_bytes(first) == to_bytes(again)
    assert digest(first) != before
    assert digest(trained_arrays(trained)) == before
    assert torch.equal(torch.random.get_rng_state(), state)


def trained_arrays(trained: TrainedModel) -> dict:
    return {name: value.numpy() for name, value in trained.network.state_dict().items()}


def test_a_training_that_diverges_is_an_error(trained) -> None:
    with pytest.raises(ConfigError, match="give a --learning-rate below 1e"):
        personalise(trained, dark_and_bright(8), Plan(epochs=2, learning_rate=1e12, held_out=0.25))


def test_its_folder_is_read_like_a_runs_and_by_nobody_else(trained, tmp_path) -> None:
    personal = personalise(trained, dark_and_bright(40), PLAN)
    write_personal(tmp_path / "mine", trained, personal, PLAN)
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o700
    mine = load_trained(tmp_path / "mine", CPU)
    assert mine.classes == CLASSES
    assert mine.digest == digest(personal.arrays)
    images = dark_and_bright(10)
    assert scores_of(mine, images.images).argmax(dim=1).tolist() == images.labels.tolist()
    told = json.loads((tmp_path / "mine" / "personal.json").read_text())
    assert told["run_model_sha256"] == digest(arrays_of("cnn"))
    assert (told["num_trained"], told["accuracy_after"]) == (30, 1.0)
    assert "Do not share it" in told["privacy"]
    assert str(tmp_path) not in json.dumps(told)


@pytest.mark.parametrize("place", ["run", "run/mine", "run/../run/mine"])
def test_a_runs_folder_holds_no_personal_model(tmp_path, place) -> None:
    run = write_trained(tmp_path / "run").root
    with pytest.raises(ConfigError, match="lies in the run's folder"):
        refuse_place(tmp_path / place, run)


def test_nor_does_a_link_into_it(tmp_path) -> None:
    run = write_trained(tmp_path / "run").root
    (tmp_path / "link").symlink_to(run, target_is_directory=True)
    with pytest.raises(ConfigError, match="lies in the run's folder"):
        refuse_place(tmp_path / "link" / "mine", run)
    refuse_place(tmp_path / "running", run)  # a name that begins alike is another place
