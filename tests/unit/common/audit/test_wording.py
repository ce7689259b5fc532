"""Numbers as text."""

from __future__ import annotations

import math

import pytest

from common.audit.wording import (
    budget_text,
    delta_text,
    epsilon_text,
    percent_text,
    percent_up_text,
)


@pytest.mark.parametrize(
    ("epsilon", "decimals", "text"),
    [
        (7.98, 2, "7.98"),
        (7.981, 2, "7.99"),
        (7.9800000001, 2, "7.99"),
        (0.0, 2, "0.00"),
        (1.23456, 4, "1.2346"),
        (123456.0, 2, "123456.00"),
        (math.inf, 2, "no limit"),
    ],
)
def test_an_epsilon_is_rounded_up(epsilon: float, decimals: int, text: str) -> None:
    assert epsilon_text(epsilon, decimals) == text


@pytest.mark.parametrize(
    ("epsilon", "budget", "decimals", "text"),
    [
        (0.00097, 0.001, 2, "0.001"),
        (3.3625, 3.363, 2, "3.363"),
        (1e-6, 5e-6, 4, "0.000001"),
        (7.981, 8.0, 2, "7.99"),
        (7.981, None, 2, "7.99"),
        (0.0011, 0.001, 2, "0.002"),
    ],
)
def test_what_is_within_a_budget_is_not_shown_above_it(
    epsilon: float, budget: float | None, decimals: int, text: str
) -> None:
    assert epsilon_text(epsilon, decimals, budget=budget) == text


@pytest.mark.parametrize(
    ("budget", "text"), [(8.0, "8.00"), (7.985, "7.985"), (0.5, "0.50"), (100.0, "100.00"), (1e-4, "0.0001")]
)
def test_a_budget_keeps_all_its_digits(budget: float, text: str) -> None:
    assert budget_text(budget) == text


def test_a_rounded_epsilon_never_passes_the_budget_it_keeps() -> None:
    assert float(epsilon_text(7.9999)) <= float(budget_text(8.0))


@pytest.mark.parametrize(
    ("delta", "text"), [(1e-5, "1e-5"), (2.5e-6, "2.5e-6"), (0.002, "2e-3"), (0.1, "1e-1"), (0.0, "0")]
)
def test_a_delta_is_short(delta: float, text: str) -> None:
    assert delta_text(delta) == text


def test_shares() -> None:
    assert percent_text(0.4567) == "45.7 %"
    assert percent_text(1.0, 0) == "100 %"
    assert percent_text(None) == "not known"
    assert percent_text(math.nan) == "not known"
    assert percent_up_text(0.2081) == "20.9 %"
    assert percent_up_text(0.208) == "20.8 %"
