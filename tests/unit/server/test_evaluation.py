from __future__ import annotations

import numpy as np
import pytest
import torch

from common.config import ModelSettings
from common.data import ImageData
from common.models import initial_arrays
from server.evaluation import Evaluator

LABELS = [0, 0, 0, 1]


@pytest.fixture
def evaluator() -> Evaluator:
    images = torch.zeros((4, 3, 32, 32), dtype=torch.uint8)
    images[3] = 255
    test = ImageData(images=images, labels=torch.tensor(LABELS), classes=("cat", "dog"))
    return Evaluator(test, model=ModelSettings(name="cnn"), loss="cross-entropy", device=torch.device("cpu"))


def constant_model(logits: list[float], name: str = "cnn") -> dict:
    """A network that answers `logits` whatever it sees."""
    arrays = initial_arrays(name, num_classes=2, seed=0)
    last = list(arrays)[-1].rpartition(".")[0]
    arrays[f"{last}.weight"] = np.zeros_like(arrays[f"{last}.weight"])
    arrays[f"{last}.bias"] = np.float32(logits)
    return arrays


def test_metrics_of_a_network_that_always_says_cat(evaluator):
    metrics = evaluator.evaluate(constant_model([1.0, 0.0])).metrics
    assert metrics["accuracy"] == 0.75
    assert metrics["balanced_accuracy"] == 0.5
    assert metrics["precision"] == pytest.approx((0.75 + 0) / 2)
    assert metrics["recall"] == pytest.approx(0.5)
    assert metrics["f1"] == pytest.approx((2 * 0.75 / 1.75 + 0) / 2)
    right, wrong = np.log1p(np.exp(-1)), np.log1p(np.exp(1))
    assert metrics["loss"] == pytest.approx((3 * right + wrong) / 4)


def test_details_hold_classes_and_the_confusion_matrix(evaluator):
    details = evaluator.evaluate(constant_model([0.0, 1.0])).details
    assert details["confusion"] == [[0, 3], [0, 1]]
    assert details["classes"] == ["cat", "dog"]
    assert details["num_examples"] == 4
    cat, dog = details["per_class"]
    assert (cat["class"], cat["recall"], cat["support"]) == ("cat", 0.0, 3)
    assert (dog["class"], dog["recall"], dog["precision"], dog["support"]) == ("dog", 1.0, 0.25, 1)


def test_details_say_how_far_probabilities_are_from_the_truth(evaluator):
    found = evaluator.evaluate(constant_model([0.0, np.log(4.0)])).details["calibration"]
    assert found["confidence"] == pytest.approx(0.8)  # of dog, which one image of four is
    assert found["error"] == pytest.approx(0.8 - 0.25)
    assert [part["count"] for part in found["bins"]] == [4]


def test_evaluating_changes_no_weights(evaluator):
    arrays = constant_model([1.0, 0.0])
    before = {name: value.copy() for name, value in arrays.items()}
    evaluator.evaluate(arrays)
    for name, value in before.items():
        np.testing.assert_array_equal(arrays[name], value)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_model_with_a_front_is_measured_on_features_of_the_test_images(workers):
    images = torch.zeros((4, 3, 32, 32), dtype=torch.uint8)
    images[3] = 255
    test = ImageData(images=images, labels=torch.tensor(LABELS), classes=("cat", "dog"))
    settings = {
        "model": ModelSettings(name="scatter-linear"),
        "loss": "cross-entropy",
        "device": torch.device("cpu"),
    }
    evaluator = Evaluator(test, **settings, workers=workers)
    assert evaluator.evaluate(constant_model([1.0, 0.0], "scatter-linear")).metrics["accuracy"] == 0.75
    arrays = initial_arrays("scatter-linear", num_classes=2, seed=0)
    arrays["linear.weight"][1, :64] = 1.0  # a dog is what is bright: the first channel, above its public mean
    assert evaluator.evaluate(arrays).metrics["accuracy"] == 1.0
