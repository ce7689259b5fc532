"""The noise has the distribution that is accounted for; two thirds and three halves of it are refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from client.noise import ChaChaStream, PrivateRandomness

COUNT = 100_000
LEAST_P = 1e-3  # the keys are fixed, so a test that passes keeps passing


def normals(key: int, count: int = COUNT) -> NDArray[np.float64]:
    values: NDArray[np.float64] = ChaChaStream(bytes([key]) * 32).standard_normals(count).numpy()
    return values


def p_of_scale(values: NDArray[np.float64], scale: float) -> float:
    return float(stats.kstest(values, "norm", args=(0.0, scale)).pvalue)


@pytest.mark.parametrize("key", range(3))
def test_normals_are_standard_normal(key: int) -> None:
    values = normals(key)
    assert p_of_scale(values, 1.0) > LEAST_P
    assert p_of_scale(values, 2 / 3) < 1e-9
    assert p_of_scale(values, 3 / 2) < 1e-9


def test_the_test_of_scale_notices_three_percent() -> None:
    assert p_of_scale(normals(0), 1.03) < LEAST_P


def test_moments_and_tails() -> None:
    values = normals(4)
    assert abs(values.mean()) < 4 / COUNT**0.5
    assert values.var() == pytest.approx(1.0, abs=4 * (2 / COUNT) ** 0.5)
    assert stats.skew(values) == pytest.approx(0.0, abs=4 * (6 / COUNT) ** 0.5)
    assert stats.kurtosis(values) == pytest.approx(0.0, abs=4 * (24 / COUNT) ** 0.5)
    beyond_three = (np.abs(values) > 3).mean()
    assert beyond_three == pytest.approx(0.0027, abs=4 * (0.0027 / COUNT) ** 0.5)


@pytest.mark.parametrize("lag", [1, 2, 2**14, 2**15])
def test_values_of_one_stream_are_independent(lag: int) -> None:
    # A block draws its sines after its cosines, half a block on: that lag would show a shared radius.
    values = normals(5)
    for transformed in (values, values**2):
        correlation = np.corrcoef(transformed[:-lag], transformed[lag:])[0, 1]
        assert abs(correlation) < 4 / (COUNT - lag) ** 0.5


def test_consecutive_steps_are_independent() -> None:
    stream = ChaChaStream(bytes(32))
    first, second = stream.standard_normals(COUNT).numpy(), stream.standard_normals(COUNT).numpy()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / COUNT**0.5


def test_clients_rounds_and_purposes_are_independent() -> None:
    draws = []
    for partition_id, number in [(0, 1), (0, 2), (1, 1), (1, 2)]:
        randomness = PrivateRandomness.reproducible(3, partition_id, number)
        draws += [randomness.noise, randomness.sampling, randomness.augmentation]
    matrix = np.corrcoef([stream.standard_normals(20_000).numpy() for stream in draws])
    off_diagonal = matrix[~np.eye(len(draws), dtype=bool)]
    assert np.abs(off_diagonal).max() < 4.5 / 20_000**0.5


def test_a_sum_over_clients_keeps_all_their_noise() -> None:
    # Noise that clients share would add up to 16, not 4; opposite noise would cancel.
    total = sum(PrivateRandomness.reproducible(3, k, 1).noise.standard_normals(20_000) for k in range(16))
    assert float(total.std()) == pytest.approx(4.0, rel=0.03)  # type: ignore[union-attr]
