"""What is added to gradients after their noise, with numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from torch import nn

from client.noise import PrivateRandomness
from client.optimizer import OptimizerSettings
from client.trainer import DPTrainer
from common.models import build_model, initial_arrays
from tests import small_trainings
from tests.small_trainings import QUIET, charge, flat, records, trainer

START = {"1.weight": np.full((1, 1), 5.0, dtype=np.float32)}
NOISY = 5.0


def place(
    steps: int,
    mu: float,
    *,
    sigma: float | None = QUIET,
    rule: str = "sgd",
    correction: float | None = None,
) -> float:
    """Return how far a weight moves whose every gradient is 1, clipped to 0.7, at a rate of 1."""
    ready = DPTrainer(
        model=nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False)),
        loss=lambda outputs, _: outputs.squeeze(1),
        optimizer=OptimizerSettings(name=rule, learning_rate=1.0, proximal_mu=mu),
        transform=lambda images, _: images.float()[:, :1, :1, :1] * 0 + 1,
    )
    what = charge(10, rate=Fraction(1), steps=steps, sigma=sigma)
    added = None if correction is None else {"1.weight": np.float32([[correction]])}
    update = ready.fit(START, records(10), what, PrivateRandomness.reproducible(7, 0, 1), added)
    return float(update.arrays["1.weight"][0, 0])


@pytest.mark.parametrize(("sigma", "gradient"), [(QUIET, 0.7), (None, 1.0)])
def test_the_pull_by_hand(sigma: float | None, gradient: float) -> None:
    # The second step is by g - g / 4, the third by g - (1 + 3 / 4) g / 4.
    assert place(1, 0.25, sigma=sigma) == pytest.approx(-gradient, rel=1e-5)
    assert place(2, 0.25, sigma=sigma) == pytest.approx(-1.75 * gradient, rel=1e-5)
    assert place(3, 0.25, sigma=sigma) == pytest.approx(-2.3125 * gradient, rel=1e-5)


def test_it_is_added_after_the_noise_and_never_clipped() -> None:
    places = [0.0, *(place(steps, 0.0, sigma=NOISY) for steps in (1, 2, 3))]
    noised = -np.diff(places)
    assert np.abs(noised).max() > 0.7
    expected = 0.0
    for gradient in noised:
        expected -= gradient + 0.9 * expected
    assert place(3, 0.9, sigma=NOISY) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sigma", [NOISY, None])
def test_a_single_step_does_not_feel_it(sigma: float | None) -> None:
    exactly = sigma is not None  # a plain step without a pull subtracts the gradient another way
    pulled, free = place(1, 1.5, sigma=sigma), place(1, 0.0, sigma=sigma)
    assert pulled == (free if exactly else pytest.approx(free, rel=1e-6))


def test_every_training_is_pulled_to_where_it_began_itself() -> None:
    ready, what = trainer(), charge(20)
    ready.step_by(OptimizerSettings(name="sgd", learning_rate=0.5, proximal_mu=0.8))
    again = trainer()
    again.step_by(OptimizerSettings(name="sgd", learning_rate=0.5, proximal_mu=0.8))
    first = {name: np.zeros_like(value) for name, value in small_trainings.START.items()}
    ready.fit(first, records(20), what, PrivateRandomness.reproducible(1, 0, 1))
    late, fresh = (
        one.fit(small_trainings.START, records(20), what, PrivateRandomness.reproducible(1, 0, 2))
        for one in (ready, again)
    )
    np.testing.assert_array_equal(flat(late), flat(fresh))


def test_other_rules_take_it_too() -> None:
    assert place(3, 0.25, rule="adam") != place(3, 0.0, rule="adam")


@pytest.mark.parametrize("sigma", [NOISY, None])
def test_a_correction_is_added_to_every_noised_gradient(sigma: float | None) -> None:
    plain, corrected = (place(3, 0.0, sigma=sigma, correction=value) for value in (None, 100.0))
    assert corrected - plain == pytest.approx(-300.0, rel=1e-4)


@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
def test_a_correction_may_be_read_where_its_message_lies() -> None:
    fixed = {name: value.copy() for name, value in small_trainings.START.items()}
    for value in fixed.values():
        value.flags.writeable = False
    trainer().fit(fixed, records(20), charge(20), PrivateRandomness.reproducible(1, 0, 1), fixed)


def test_a_correction_of_zeros_changes_no_bit() -> None:
    assert place(3, 0.0, sigma=NOISY, correction=0.0) == place(3, 0.0, sigma=NOISY)


@pytest.mark.parametrize("name", ["cnn", "wrn-16-4"])
def test_a_correction_finds_its_parameters_whatever_their_place_in_memory(name: str) -> None:
    """Steps without records are by the correction alone."""
    start = initial_arrays(name, num_classes=3, seed=0)
    values = {
        key: np.arange(array.size, dtype=np.float32).reshape(array.shape) for key, array in start.items()
    }
    ready = DPTrainer(
        model=build_model(name, num_classes=3),
        loss=lambda outputs, _: outputs.sum(dim=1) * 0.0,
        optimizer=OptimizerSettings(name="sgd", learning_rate=1.0),
        transform=lambda images, _: images.float().repeat(1, 1, 4, 4),
    )
    what = charge(2, rate=Fraction(1), steps=1, sigma=None)
    update = ready.fit(start, records(2), what, PrivateRandomness.reproducible(7, 0, 1), values)
    for key, array in update.arrays.items():
        np.testing.assert_allclose(array, -values[key], rtol=1e-5, atol=0.1)
