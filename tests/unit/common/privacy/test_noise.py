from __future__ import annotations

import math
from fractions import Fraction

import pytest

from common.errors import ConfigError
from common.privacy.noise import (
    LEAST_NOISE,
    MOST_NOISE,
    DiscreteLaplace,
    Gaussian,
    Laplace,
    PoissonGaussian,
    Unprotected,
    accountable,
)


def gaussian(sigma: float = 1.1, rate: str = "0.2", steps: int = 3) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=Fraction(rate), num_steps=steps)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("inf"), float("nan")])
def test_noise_must_be_positive_and_finite(sigma):
    with pytest.raises(ConfigError, match="noise_multiplier"):
        gaussian(sigma)
    for kind in (Gaussian, Laplace, DiscreteLaplace):
        with pytest.raises(ConfigError, match="noise_multiplier"):
            kind(noise_multiplier=sigma, num_steps=1)


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(-1, 2), Fraction(6, 5), 0.2, Fraction(0.1)])
def test_sample_rate_is_an_exact_fraction(rate):
    with pytest.raises(ConfigError, match="sample_rate"):
        PoissonGaussian(noise_multiplier=1.0, sample_rate=rate, num_steps=1)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_steps_are_whole_and_positive(steps):
    with pytest.raises(ConfigError, match="num_steps"):
        Unprotected(num_steps=steps)
    with pytest.raises(ConfigError, match="num_steps"):
        gaussian(steps=steps)
    for kind in (Gaussian, Laplace, DiscreteLaplace):
        with pytest.raises(ConfigError, match="num_steps"):
            kind(noise_multiplier=1.0, num_steps=steps)


def test_equal_means_the_same_kind_noise_rate_and_steps():
    same = {gaussian(), gaussian(rate="1/5"), gaussian(sigma=1.1)}
    different = {
        gaussian(),
        gaussian(2.0),
        gaussian(rate="1/6"),
        gaussian(steps=4),
        Gaussian(noise_multiplier=1.1, num_steps=3),
        Laplace(noise_multiplier=1.1, num_steps=3),
        DiscreteLaplace(noise_multiplier=1.1, num_steps=3),
        Unprotected(num_steps=3),
    }
    assert len(same) == 1
    assert len(different) == 8


def test_no_noise_and_nearly_none_is_not_accountable():
    assert accountable([gaussian(), Unprotected(num_steps=1)]) is None
    assert accountable([gaussian(LEAST_NOISE / 2)]) is None
    assert accountable([gaussian(), gaussian(LEAST_NOISE)]) == (gaussian(), gaussian(LEAST_NOISE))
    assert accountable([]) == ()


def test_huge_noise_counts_as_less():
    assert accountable([gaussian(1e300)]) == (gaussian(MOST_NOISE),)
    assert math.isfinite(MOST_NOISE**2)
