"""A federation's settings as those of one pool."""

from __future__ import annotations

from typing import Any

import pytest

from common.config import resolve
from common.errors import ConfigError
from simulations.central import POOL, pool_settings


def test_everything_but_the_federation_stays() -> None:
    base: dict[str, Any] = {
        "federation.num-clients": 10,
        "federation.fraction-train": 0.5,
        "federation.server-momentum": 0.8,
        "data.partitioner": "pathological",
        "training.learning-rate": 60,
        "privacy.epsilon": 3.0,
    }
    expected = base | {
        "federation.num-clients": 1,
        "federation.min-train-clients": 1,
        "federation.fraction-train": 1.0,
        "data.partitioner": "iid",
    }
    assert pool_settings(base, {}) == resolve(expected)


def test_a_choice_is_laid_over_the_federations_settings() -> None:
    chosen = {"privacy.epsilon": 1.0, "federation.num-clients": 1}
    assert pool_settings({"privacy.epsilon": 3.0}, chosen).privacy.epsilon == 1.0


@pytest.mark.parametrize("key", sorted(POOL))
def test_a_choice_against_the_pool_is_refused(key: str) -> None:
    other: Any = "dirichlet" if key == "data.partitioner" else 0.5 if "fraction" in key else 3
    with pytest.raises(ConfigError, match="contradicts --central"):
        pool_settings({}, {key: other})
