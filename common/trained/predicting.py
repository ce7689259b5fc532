"""Classes and probabilities of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from common.trained.loading import TrainedModel
from common.trained.pictures import Picture

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Likely:
    """A class, and how probable the model takes it to be (0 to 1)."""

    name: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of one image file.

    Args:
        path: the file, as it was named.
        likely: the most probable classes, most probable first; empty where the image cannot be read.
        problem: why it cannot be read; empty where it can.
    """

    path: str
    likely: tuple[Likely, ...] = ()
    problem: str = ""


@torch.inference_mode()
def scores_of(trained: TrainedModel, images: Tensor) -> Tensor:
    """Compute the scores (logits) of images in batches.

    Args:
        trained: a run's model.
        images: uint8 [n, 3, height, width].

    Returns:
        float32 [n, classes], on the CPU.
    """
    prepare = trained.preparation()
    parts = [trained.network(prepare(batch)).float().cpu() for batch in torch.split(images, _BATCH)]
    return torch.cat(parts)


def predict(trained: TrainedModel, pictures: Iterable[Picture], *, top: int) -> Iterator[Prediction]:
    """Say what images show, in their order; one that cannot be read has its problem said instead.

    Args:
        trained: a run's model.
        pictures: what was read.
        top: how many classes are named for each image.
    """
    waiting = iter(pictures)
    while batch := list(islice(waiting, _BATCH)):
        readable = [picture.pixels for picture in batch if picture.pixels is not None]
        probabilities = iter(scores_of(trained, torch.stack(readable)).softmax(dim=1) if readable else ())
        for picture in batch:
            if picture.pixels is None:
                yield Prediction(path=picture.path, problem=picture.problem)
            else:
                yield Prediction(
                    path=picture.path, likely=most_likely(trained.classes, next(probabilities), top)
                )


def most_likely(classes: tuple[str, ...], probabilities: Tensor, top: int) -> tuple[Likely, ...]:
    """Return the most probable classes, most probable first.

    Args:
        classes: their names, in label order.
        probabilities: float [classes].
        top: how many; all of them where there are fewer.
    """
    ordered = probabilities.sort(descending=True, stable=True)
    chosen = zip(ordered.values[:top].tolist(), ordered.indices[:top].tolist(), strict=True)
    return tuple(Likely(name=classes[label], probability=probability) for probability, label in chosen)
