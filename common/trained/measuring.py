"""How large, fast, accurate and faithful a file is, found out by running it."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.data import ImageData

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One line of the table.

    Args:
        name: of format and variant, or "original".
        file: its name, empty for the run's own model.safetensors.
        size_bytes: of the file.
        zipped_bytes: of the file when it is compressed, where zeros of a pruned model count little.
        images_per_second: on this machine, in batches of 32.
        accuracy: on public test images, 0 to 1.
        largest_difference: of any score from the original's.
    """

    name: str
    file: str
    size_bytes: int
    zipped_bytes: int
    images_per_second: float
    accuracy: float
    largest_difference: float


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Scores of test images, float32 [n, classes], and how long they took."""

    scores: Tensor
    seconds: float


@torch.inference_mode()
def answers_of(run: Callable[[Tensor], Tensor], images: Tensor) -> Answers:
    """Run a model on uint8 images [n, 3, height, width], once more than is timed."""
    batches = torch.split(images, _BATCH)
    run(batches[0])
    start = time.perf_counter()
    scores = torch.cat([run(batch).detach().float().cpu() for batch in batches])
    return Answers(scores=scores, seconds=time.perf_counter() - start)


def measure(
    name: str, file: str, data: bytes, answers: Answers, original: Answers, test: ImageData
) -> Measured:
    """Put a file's figures together."""
    right = answers.scores.argmax(dim=1) == test.labels
    return Measured(
        name=name,
        file=file,
        size_bytes=len(data),
        zipped_bytes=len(zlib.compress(data)),
        images_per_second=len(test) / max(answers.seconds, 1e-9),
        accuracy=float(right.float().mean()),
        largest_difference=difference(answers.scores, original.scores),
    )


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest absolute difference; infinite where a score is not finite."""
    largest = float((one - other).abs().max())
    return math.inf if math.isnan(largest) else largest
