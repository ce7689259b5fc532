from __future__ import annotations

import math

import numpy as np
import pytest

from common.config import FederationSettings, resolve
from server.optimizers import Moments, initial_moments, stepped

W = {"w": np.float32([0.0])}


def settings(**changes) -> FederationSettings:
    return resolve({f"federation.server-{key.replace('_', '-')}": v for key, v in changes.items()}).federation


def path(chosen: FederationSettings, *updates: float) -> tuple[list[float], Moments]:
    """Return where a single weight, which begins at 0, is after each update."""
    arrays, moments, places = W, initial_moments(chosen, W), []
    for update in updates:
        arrays, moments = stepped(chosen, arrays, moments, {"w": np.float32([update])})
        places.append(float(arrays["w"][0]))
    return places, moments


def test_momentum_and_a_rate_by_hand():
    places, moments = path(settings(momentum=0.5, learning_rate=2.0), 1.0, 3.0)
    assert places == [2.0, 9.0]  # 2 * 1, then 2 * (1 / 2 + 3) more
    assert moments.first["w"].tolist() == [3.5]
    assert moments.second is None


def test_without_a_rate_the_averaged_update_is_added_as_it_is():
    assert path(settings(momentum=0.0), 0.3)[0] == [float(np.float32(0.3))]


def test_the_first_two_steps_of_fedadam_by_hand():
    chosen = settings(optimizer="adam", learning_rate=2.0, momentum=0.5, beta2=0.5, tau=1.0)
    places, moments = path(chosen, 1.0, 7.0)
    # m: 1/2, then 1/4 + 7/2; squares, from 1: (1 + 1) / 2 = 1, then (1 + 49) / 2 = 25
    assert places == [2 * 0.5 / (1 + 1), 0.5 + 2 * 3.75 / (5 + 1)]
    assert moments.first["w"].tolist() == [3.75]
    assert moments.second["w"].tolist() == [25.0]


@pytest.mark.parametrize(
    ("optimizer", "squares"),
    [
        ("yogi", [1 + 49 / 2, 25.5 - 4 / 2]),  # it moves by half of the new square, towards it
        ("adagrad", [1 + 49, 50 + 4]),
    ],
)
def test_the_other_means_of_squares_by_hand(optimizer, squares):
    chosen = settings(optimizer=optimizer, learning_rate=1.0, momentum=0.0, beta2=0.5, tau=1.0)
    places, moments = path(chosen, 7.0, 2.0)
    first = 7 / (math.sqrt(squares[0]) + 1)
    assert places == pytest.approx([first, first + 2 / (math.sqrt(squares[1]) + 1)])
    assert moments.second["w"].tolist() == [squares[1]]


def test_rates_of_their_own():
    rates = {name: settings(optimizer=name).server_rate for name in ("sgd", "adam", "yogi", "adagrad")}
    assert rates == {"sgd": 1.0, "adam": 0.01, "yogi": 0.01, "adagrad": 0.01}
    assert settings(optimizer="adam", learning_rate=0.5).server_rate == 0.5


@pytest.mark.parametrize("optimizer", ["adam", "yogi", "adagrad"])
def test_a_huge_update_leaves_the_model_finite(optimizer):
    with np.errstate(all="raise"):
        places, moments = path(settings(optimizer=optimizer), 3e38, 3e38, -1.0)
    assert np.isfinite([*places, *moments.second["w"]]).all()


def test_what_was_there_before_is_left_alone():
    moments = initial_moments(settings(optimizer="adam"), W)
    stepped(settings(optimizer="adam"), W, moments, {"w": np.float32([1.0])})
    assert (W["w"][0], moments.first["w"][0]) == (0, 0)
    assert moments.second["w"][0] == np.float32(0.001) ** 2
