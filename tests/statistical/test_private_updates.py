"""Updates of whole trainings: how noisy they are, and how far one record can move them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from client.noise import PrivateRandomness
from client.optimizer import OptimizerSettings
from client.trainer import Charge, DPTrainer
from common.data import ImageData
from common.privacy.mechanisms import PoissonGaussian
from tests.small_trainings import cross_entropy, records, scaled

MAX_GRAD_NORM = 0.7
PARAMETERS = 192 * 10 + 10


def update(
    data: ImageData,
    *,
    rate: Fraction,
    sigma: float,
    steps: int = 1,
    loudness: float = 1.0,
    partition_id: int = 0,
) -> NDArray[np.float32]:
    """Train a linear classifier from zero with learning rate 1; return minus its update, flat."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    trainer = DPTrainer(
        model=model,
        loss=lambda outputs, labels: loudness * cross_entropy(outputs, labels),
        optimizer=OptimizerSettings(name="sgd", learning_rate=1.0),
        transform=scaled,
        device=torch.device("cpu"),
    )
    mechanism = PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, num_steps=steps)
    what = Charge(mechanism=mechanism, sample_rate=rate, max_grad_norm=MAX_GRAD_NORM, num_examples=len(data))
    start = {
        "1.weight": np.zeros((10, 192), dtype=np.float32),
        "1.bias": np.zeros(10, dtype=np.float32),
    }
    randomness = PrivateRandomness.reproducible(11, partition_id, 1)
    arrays = trainer.fit(start, data, what, randomness).arrays
    return -np.concatenate([arrays["1.weight"].ravel(), arrays["1.bias"].ravel()])


NEVER = Fraction(1, 10**12)
"""A rate at which batches are empty in practice."""


@pytest.mark.parametrize("steps", [1, 3])
def test_empty_batches_add_all_their_noise_and_count(steps: int) -> None:
    values = update(records(2), rate=NEVER, sigma=1.3, steps=steps)
    scale = 1.3 * MAX_GRAD_NORM / (2 * float(NEVER)) * steps**0.5
    for factor, accepted in [(1.0, True), (2 / 3, False), (3 / 2, False)]:
        p = stats.kstest(values, "norm", args=(0.0, factor * scale)).pvalue
        assert (p > 1e-3) if accepted else (p < 1e-9)


def test_noise_around_the_clipped_gradient_has_the_charged_scale() -> None:
    data, rate = records(20), Fraction(1, 2)
    noise = update(data, rate=rate, sigma=2.0) - update(data, rate=rate, sigma=1e-12)
    scale = 2.0 * MAX_GRAD_NORM / 10
    assert noise.size == PARAMETERS
    for factor, accepted in [(1.0, True), (2 / 3, False), (3 / 2, False)]:
        p = stats.kstest(noise, "norm", args=(0.0, factor * scale)).pvalue
        assert (p > 1e-3) if accepted else (p < 1e-9)


def test_noise_of_two_clients_is_uncorrelated() -> None:
    first, second = (update(records(2), rate=NEVER, sigma=1.0, partition_id=client) for client in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / PARAMETERS**0.5


@pytest.mark.parametrize("loudness", [1e-6, 1e-3, 1.0, 1e3, 1e6, 1e18, 1e25])
def test_one_record_moves_a_sum_by_no_more_than_the_norm(loudness: float) -> None:
    for seed in range(5):
        moved = update(records(1, seed), rate=Fraction(1), sigma=1e-12, loudness=loudness)
        assert np.linalg.norm(moved.astype(np.float64)) <= MAX_GRAD_NORM * (1 + 1e-6)


def test_removing_a_record_moves_a_sum_by_no_more_than_the_norm() -> None:
    data = records(12, seed=3)
    whole = update(data, rate=Fraction(1), sigma=1e-12, loudness=1e3).astype(np.float64) * 12
    for i in range(12):
        rest = data.subset(np.delete(np.arange(12), i))
        part = update(rest, rate=Fraction(1), sigma=1e-12, loudness=1e3).astype(np.float64) * 11
        assert np.linalg.norm(whole - part) == pytest.approx(MAX_GRAD_NORM, rel=1e-4)
