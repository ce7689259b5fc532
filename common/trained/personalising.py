"""A model of one's own: a run's model, trained on with images that stay where they are, without noise."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from common.arrays import Arrays
from common.data import ImageData
from common.data.features import Preparation, Transform
from common.errors import ConfigError, DataError
from common.models import build_loss
from common.models.weights import model_arrays
from common.streams import numpy_stream, stream_seed
from common.trained.loading import TrainedModel

_BATCH = 32
_STREAM = "personal"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a personal model is trained.

    Args:
        epochs: passes over the images that are trained on, at least 1.
        learning_rate: step size of plain SGD on batches of 32.
        held_out: share of each class that is not trained on, above 0 and below 1.
        feature_cache: folder that keeps the features of models with a frozen front; empty for none.
    """

    epochs: int
    learning_rate: float
    held_out: float
    feature_cache: str = ""


@dataclass(frozen=True, kw_only=True)
class Personal:
    """A personal model, and what it gained.

    Args:
        arrays: its weights.
        num_trained: images that it was trained on.
        num_held_out: images that it was not trained on, and is measured on.
        before: accuracy of the run's model on the latter, 0 to 1.
        after: accuracy of the personal model on the same.
    """

    arrays: Arrays
    num_trained: int
    num_held_out: int
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Records on their device, ready for a network."""

    inputs: Tensor
    labels: Tensor
    transform: Transform

    def part(self, numbers: NDArray[np.int64]) -> _Task:
        """Return some of the records."""
        chosen = torch.from_numpy(numbers).to(self.inputs.device)
        return _Task(inputs=self.inputs[chosen], labels=self.labels[chosen], transform=self.transform)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return network inputs and labels of some records."""
        return self.transform(self.inputs[numbers], None), self.labels[numbers]


def personalise(trained: TrainedModel, images: ImageData, plan: Plan) -> Personal:
    """Train a copy of a run's model on images, and measure both on a part that was held out.

    Args:
        trained: the run's model, which is not changed.
        images: whoever runs this may see; labels in the order of the model's classes.
        plan: how.

    Raises:
        DataError: when no class has an image to hold out.
        ConfigError: when the training diverges.

    Privacy:
        There is no noise: the result, figures included, is as private as `images` and must stay with them.
    """
    kept, held = _divide(images.labels.numpy(), plan.held_out, trained.config.runtime.seed)
    task = _prepared(trained, images, plan)
    network = copy.deepcopy(trained.network)
    _train(network, trained, task.part(kept), plan)
    measured = task.part(held)
    return Personal(
        arrays=model_arrays(network),
        num_trained=len(kept),
        num_held_out=len(held),
        before=_accuracy(trained.network, measured),
        after=_accuracy(network, measured),
    )


def _divide(
    labels: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw which records are trained on and which held out: a share of each class, and never all of one."""
    rng = numpy_stream(seed, f"{_STREAM}/held-out")
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    counts = [min(len(numbers) - 1, max(1, round(share * len(numbers)))) for numbers in members]
    held = np.sort(np.concatenate([numbers[:count] for numbers, count in zip(members, counts, strict=True)]))
    if not len(held):
        raise DataError("no class has two images, one to train on and one to hold out: add images")
    return np.setdiff1d(np.arange(len(labels)), held), held


def _prepared(trained: TrainedModel, images: ImageData, plan: Plan) -> _Task:
    preparation = Preparation(
        model=trained.config.model,
        augmentation="none",
        device=trained.device,
        workers=trained.config.runtime.num_workers,
        cache=plan.feature_cache,
    )
    records = preparation.records(images)
    return _Task(
        inputs=records.inputs.to(trained.device),
        labels=records.labels.to(trained.device),
        transform=preparation.transform(),
    )


def _train(network: nn.Module, trained: TrainedModel, task: _Task, plan: Plan) -> None:
    loss = build_loss(trained.config.training.loss)
    order = torch.Generator().manual_seed(stream_seed(trained.config.runtime.seed, f"{_STREAM}/order"))
    network.train().requires_grad_(True)
    optimizer = torch.optim.SGD(network.parameters(), lr=plan.learning_rate)
    for _ in range(plan.epochs):
        for numbers in torch.split(torch.randperm(len(task.labels), generator=order), _BATCH):
            inputs, labels = task.batch(numbers.to(task.labels.device))
            optimizer.zero_grad()
            loss(network(inputs), labels).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.eval().requires_grad_(False)
    if not all(torch.isfinite(weights).all() for weights in network.parameters()):
        raise ConfigError(f"the training diverged: give a --learning-rate below {plan.learning_rate:g}")


@torch.inference_mode()
def _accuracy(network: nn.Module, task: _Task) -> float:
    right = 0
    for numbers in torch.split(torch.arange(len(task.labels), device=task.labels.device), _BATCH):
        inputs, labels = task.batch(numbers)
        right += int((network(inputs).argmax(dim=1) == labels).sum())
    return right / len(task.labels)
