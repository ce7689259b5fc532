"""Who goes on after how many rounds."""

from __future__ import annotations

import pytest

from common.errors import ConfigError
from simulations.sweep.schedule import Rung, best, mean_scores, rungs


@pytest.mark.parametrize(
    ("settings", "rounds", "keep", "expected"),
    [
        (9, 90, 3, [(9, 10), (3, 30), (1, 90)]),
        (8, 80, 2, [(8, 10), (4, 20), (2, 40), (1, 80)]),
        (4, 6, 2, [(4, 2), (2, 3), (1, 6)]),
        (5, 100, 2, [(5, 13), (3, 25), (2, 50), (1, 100)]),
        (2, 2, 2, [(2, 1), (1, 2)]),
    ],
)
def test_rungs(settings: int, rounds: int, keep: int, expected: list[tuple[int, int]]) -> None:
    plan = rungs(settings, rounds, keep)
    assert plan == tuple(Rung(settings=size, rounds=count) for size, count in expected)


def test_what_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 settings"):
        rungs(1, 100, 2)
    with pytest.raises(ConfigError, match="= 7 cannot be divided for 8 settings: give at least 8"):
        rungs(8, 7, 2)


def test_the_best_come_first_and_of_equal_ones_the_earlier() -> None:
    assert best({1: 0.3, 2: 0.7, 3: 0.7, 4: 0.1}, 3) == [2, 3, 1]


def test_settings_with_a_run_that_failed_have_no_score() -> None:
    assert mean_scores({1: [0.5, 0.7], 2: [0.9, None], 3: []}) == {1: pytest.approx(0.6)}
