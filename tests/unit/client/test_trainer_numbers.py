"""What enters an update: each record at most once, scaled by public numbers only."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from client.noise import PrivateRandomness
from client.optimizer import OptimizerSettings
from client.sampling import PoissonSampler
from client.trainer import Charge, DPTrainer, Loss, Transform
from tests.both_ways import with_and_without_kernels  # noqa: F401
from tests.small_trainings import QUIET, charge, cross_entropy, fit, flat, records, scaled, trainer

POISON = 9


def silenced(outputs: Tensor, labels: Tensor) -> Tensor:
    return torch.where(labels == POISON, 0.0, cross_entropy(outputs, labels))


def infinite(outputs: Tensor, labels: Tensor) -> Tensor:
    return torch.where(labels == POISON, float("inf"), 1.0) * cross_entropy(outputs, labels)


def undefined(outputs: Tensor, labels: Tensor) -> Tensor:
    return torch.where(labels == POISON, float("nan"), 1.0) * cross_entropy(outputs, labels)


def poisoned_images(images: Tensor, _: torch.Generator | None) -> Tensor:
    return scaled(images, _).masked_fill(images == 255, float("nan"))


@pytest.mark.parametrize("chunk", [3, 64])
@pytest.mark.parametrize("kind", [infinite, undefined, poisoned_images])
def test_one_poisoned_record_changes_nothing_else(kind: Loss | Transform, chunk: int) -> None:
    data = records(20)
    data.labels[4] = POISON
    data.images[4, 0, 2, 2] = 255
    what = charge(20, rate=Fraction(1), steps=2)
    by_image = kind is poisoned_images
    bad = trainer(chunk=chunk, transform=poisoned_images) if by_image else trainer(chunk=chunk, loss=kind)  # type: ignore[arg-type]
    without = fit(trainer(chunk=chunk, loss=silenced), data, what)
    np.testing.assert_allclose(flat(fit(bad, data, what)), flat(without), atol=1e-6)


def unit_trainer() -> DPTrainer:
    """One weight and a loss that equals it: every record's gradient is 1, clipped to 0.7."""
    return DPTrainer(
        model=nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False)),
        loss=lambda outputs, _: outputs.squeeze(1),
        optimizer=OptimizerSettings(name="sgd", learning_rate=1.0),
        transform=lambda images, _: images.float()[:, :1, :1, :1] * 0 + 1,
    )


def unit_step(what: Charge, partition_id: int) -> float:
    randomness = PrivateRandomness.reproducible(7, partition_id, 1)
    start = {"1.weight": np.zeros((1, 1), dtype=np.float32)}
    update = unit_trainer().fit(start, records(what.num_examples), what, randomness)
    return float(update.arrays["1.weight"][0, 0])


def drawn(num_examples: int, rate: Fraction, partition_id: int) -> int:
    stream = PrivateRandomness.reproducible(7, partition_id, 1).sampling
    return PoissonSampler(num_examples, rate, stream).draw().size


def test_the_sum_is_divided_by_the_expected_batch_size_not_the_drawn_one() -> None:
    rate = Fraction(1, 3)
    sizes = [drawn(30, rate, client) for client in range(5)]
    assert any(size != 10 for size in sizes)
    for client, size in enumerate(sizes):
        got = unit_step(charge(30, rate=rate, steps=1, sigma=QUIET), client)
        assert got == pytest.approx(-0.7 * size / 10, rel=1e-5)


def test_without_protection_nothing_is_clipped_or_noised() -> None:
    rate = Fraction(1, 3)
    for client in range(3):
        got = unit_step(charge(30, rate=rate, steps=1, sigma=None), client)
        assert got == pytest.approx(-drawn(30, rate, client) / 10, rel=1e-5)


def test_exactly_the_charged_number_of_steps_is_taken() -> None:
    assert unit_step(charge(10, rate=Fraction(1), steps=4, sigma=QUIET), 0) == pytest.approx(-2.8, rel=1e-5)
