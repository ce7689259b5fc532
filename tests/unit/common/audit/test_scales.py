"""Scales: positions and ticks."""

from __future__ import annotations

import pytest

from common.audit.scales import Axis, from_zero, powers_of_ten, ticks, whole_numbers


def test_an_axis_places_values_linearly() -> None:
    axis = Axis(low=0.0, high=10.0, start=200.0, stop=0.0)
    assert (axis.at(0.0), axis.at(2.5), axis.at(10.0)) == (200.0, 150.0, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 8.0, [0, 2, 4, 6, 8]),
        (0.0, 0.72, [0, 0.2, 0.4, 0.6, 0.8]),
        (4.99, 8.0, [4, 5, 6, 7, 8]),
        (3.0, 3.0, [3, 4]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_rounds_have_ticks_at_whole_numbers_only() -> None:
    assert whole_numbers(3, "round").ticks == (0, 1, 2, 3)
    assert (whole_numbers(0, "round").low, whole_numbers(0, "round").high) == (0, 1)
    assert whole_numbers(1200, "round").text(1000) == "1,000"


def test_a_scale_from_zero_holds_its_largest_value() -> None:
    scale = from_zero(7.3, "epsilon", str)
    assert (scale.low, scale.high >= 7.3, scale.label) == (0.0, True, "epsilon")


def test_powers_of_ten_enclose_both_ends() -> None:
    scale = powers_of_ten(3e-6, 3e-2, "delta")
    assert (scale.low, scale.high) == (-6, -1)
    assert [scale.text(tick) for tick in scale.ticks] == ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]
