from __future__ import annotations

import numpy as np
import torch

from common.data import BatchTransform, ImageData, load_data
from common.data.synthetic import draw_images
from common.models import build_loss, build_model, initial_arrays, load_arrays


def test_ten_balanced_classes_of_small_images() -> None:
    split = load_data("synthetic", data_dir=None)
    assert split.train.images.shape == (12_000, 3, 32, 32)
    assert torch.bincount(split.train.labels).tolist() == [1_200] * 10
    assert torch.bincount(split.test.labels).tolist() == [200] * 10
    assert len(split.train.classes) == 10
    assert (
        "procedurally drawn shapes, no real images; figures say nothing about real data" in split.description
    )


def test_the_seed_decides() -> None:
    first, again, other = (draw_images(200, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images)


def test_no_test_image_is_a_training_image() -> None:
    split = load_data("synthetic", data_dir=None)
    train = {image.tobytes() for image in split.train.images.numpy()}
    assert len(train) == 12_000
    assert not train & {image.tobytes() for image in split.test.images.numpy()}


def test_the_first_records_hold_every_class() -> None:
    labels = load_data("synthetic", data_dir=None).train.labels
    assert len(labels[:100].unique()) == 10


def _accuracy(model: torch.nn.Module, inputs: torch.Tensor, data: ImageData) -> float:
    with torch.no_grad():
        return float((model(inputs).argmax(dim=1) == data.labels).float().mean())


def test_a_small_network_learns_them_but_not_at_once() -> None:
    split = load_data("synthetic", data_dir=None)
    transform = BatchTransform(augmentation="none", device=torch.device("cpu"))
    inputs = transform(split.test.images, None)
    model, loss = build_model("cnn", num_classes=10), build_loss("cross-entropy")
    load_arrays(model, initial_arrays("cnn", num_classes=10, seed=0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    accuracies = []
    for start in range(0, 400 * 64, 64):
        batch = split.train.subset(np.arange(start, start + 64) % len(split.train))
        optimizer.zero_grad()
        loss(model(transform(batch.images, None)), batch.labels).mean().backward()
        optimizer.step()
        if start in (0, 399 * 64):
            accuracies.append(_accuracy(model, inputs, split.test))
    after_one_step, after_four_hundred = accuracies
    assert after_one_step < 0.25
    assert after_four_hundred > 0.9
