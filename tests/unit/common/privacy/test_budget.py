from __future__ import annotations

import math

import pytest

from common.errors import ConfigError
from common.privacy.budget import PrivacyBudget, check_delta, default_delta


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_epsilon_must_be_positive_and_finite(epsilon):
    with pytest.raises(ConfigError, match="epsilon"):
        PrivacyBudget(epsilon=epsilon, delta=1e-5)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_delta_must_be_a_probability(delta):
    with pytest.raises(ConfigError, match="delta"):
        PrivacyBudget(epsilon=1.0, delta=delta)


def test_default_delta_is_a_tenth_of_one_over_n_or_less():
    assert default_delta(50) == 1e-5
    assert default_delta(10_000) == 1e-5
    assert default_delta(1_000_000) == 1e-7


def test_delta_above_one_over_n_is_refused_with_a_way_out():
    check_delta(0.01, 100)
    with pytest.raises(
        ConfigError, match=r"0.011, permitted for 100 examples .* at most 1/100: set delta = \"auto\""
    ):
        check_delta(0.011, 100)
    with pytest.raises(ConfigError, match="delta"):
        check_delta(0.0, 100)


def test_an_empty_data_set_has_no_delta():
    with pytest.raises(ConfigError, match="at least 1"):
        default_delta(0)
    with pytest.raises(ConfigError, match="at least 1"):
        check_delta(1e-5, 0)
