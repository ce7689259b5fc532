"""Noise-to-signal, held against numbers worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from common.planning.noise import Contribution, averaged_noise_to_signal, burdens, noise_to_signal


def of(num_examples: int, ratio: float, count: int = 1) -> Contribution:
    return Contribution(count=count, num_examples=num_examples, noise_to_signal=ratio)


def test_one_step_is_sigma_times_the_root_of_the_weights_over_the_batch():
    # sigma 2, sqrt(62500) = 250, batch 1000 / 10 = 100
    ratio = noise_to_signal(
        noise_multiplier=2.0, num_parameters=62_500, num_examples=1000, sample_rate=Fraction(1, 10)
    )
    assert ratio == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("answering", "steps", "expected"), [(4, 1, 2.5), (4, 4, 1.25), (1, 1, 5.0), (2, 2, 2.5)]
)
def test_equal_clients_average_their_noise_by_the_root_of_their_number(answering, steps, expected):
    assert averaged_noise_to_signal([of(1000, 5.0, 4)], answering=answering, steps=steps) == pytest.approx(
        expected
    )


def test_unequal_clients_are_weighted_by_their_examples():
    # (100 * 3)^2 + (300 * 1)^2 = 180000 over (100 + 300)^2
    ratio = averaged_noise_to_signal([of(100, 3.0), of(300, 1.0)], answering=2, steps=1)
    assert ratio == pytest.approx(math.sqrt(180_000) / 400)


def test_of_two_clients_with_equal_noise_the_smaller_burdens_below_the_root_of_two_less_one():
    # without it: 1 / 242^2 < 2 / 342^2, but 1 / 241^2 > 2 / 341^2
    def pair(larger: int) -> list[Contribution]:
        return [of(100, 1 / 100), of(larger, 1 / larger)]

    assert burdens(pair(242)) == (of(100, 1 / 100),)
    assert burdens(pair(241)) == ()


def test_no_client_burdens_an_average_of_its_own():
    assert burdens([of(100, 5.0)]) == ()
    assert burdens([of(100, 5.0, 10)]) == ()


def test_a_burden_is_just_who_makes_the_average_noisier():
    clients = [of(50, 9.0), of(200, 2.5), of(400, 2.0), of(1000, 0.5)]
    all_of_them = averaged_noise_to_signal(clients, answering=4, steps=1)
    for one in clients:
        rest = [other for other in clients if other != one]
        without = averaged_noise_to_signal(rest, answering=3, steps=1)
        assert (one in burdens(clients)) == (without < all_of_them)
    assert burdens(clients)
