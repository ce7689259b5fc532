"""Trainings small enough for a test: 8 x 8 images, a network of two thousand parameters."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from client.noise import PrivateRandomness
from client.optimizer import OptimizerSettings
from client.trainer import Charge, DPTrainer, LocalUpdate, Loss, Transform
from common.data import ImageData
from common.models import model_arrays
from common.privacy.mechanisms import PoissonGaussian, Unprotected

QUIET = 1e-12


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 5),
        nn.Linear(5, 10),
    )


START = model_arrays(network())
"""Made once, since making it seeds torch's global generator, which threads share."""


def records(count: int, seed: int = 0) -> ImageData:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 255, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 9, (count,), generator=generator)
    return ImageData(images=images, labels=labels, classes=tuple("abcdefghij"))


def scaled(images: Tensor, _: torch.Generator | None) -> Tensor:
    return images.float() / 64 - 2


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, reduction="none")


def trainer(
    *,
    loss: Loss = cross_entropy,
    transform: Transform = scaled,
    chunk: int = 64,
    momentum: float = 0.0,
    views: int = 1,
) -> DPTrainer:
    return DPTrainer(
        model=network(),
        loss=loss,
        optimizer=OptimizerSettings(name="sgd", learning_rate=0.5, momentum=momentum),
        transform=transform,
        device=torch.device("cpu"),
        max_physical_batch_size=chunk,
        views=views,
    )


def charge(
    num_examples: int, rate: Fraction = Fraction(1, 2), steps: int = 3, sigma: float | None = 1.0
) -> Charge:
    mechanism = (
        Unprotected(num_steps=steps)
        if sigma is None
        else PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, num_steps=steps)
    )
    return Charge(mechanism=mechanism, sample_rate=rate, max_grad_norm=0.7, num_examples=num_examples)


def fit(
    which: DPTrainer, data: ImageData, what: Charge, partition_id: int = 0, number: int = 1
) -> LocalUpdate:
    randomness = PrivateRandomness.reproducible(7, partition_id, number)
    return which.fit(START, data, what, randomness)


def flat(update: LocalUpdate) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.concatenate([array.ravel() for array in update.arrays.values()])
