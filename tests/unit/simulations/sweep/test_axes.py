"""Reading what a sweep varies."""

from __future__ import annotations

import pytest

from common.errors import ConfigError
from simulations.sweep.axes import Axis, combinations, label, parse_axes, parse_axis


def test_values_are_read_like_those_of_set() -> None:
    assert parse_axis("training.learning-rate=60, 120,2.5") == Axis(
        key="training.learning-rate", values=(60, 120, 2.5)
    )
    assert parse_axis("model.name=cnn,patch-linear").values == ("cnn", "patch-linear")
    assert parse_axis("privacy.enabled=true,false").values == (True, False)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("training.learning-rate", "is not section.key=value,value"),
        ("=1,2", "is not section.key=value,value"),
        ("training.learning-rate=", "lacks a value in ''"),
        ("training.learning-rate=1,,2", "lacks a value in '1,,2'"),
        ("training.learning-rate=1,2,1", "has the value 1 twice"),
        ("runtime.workers=1,2", "changes no result"),
    ],
)
def test_what_is_no_axis_is_refused(text: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        parse_axis(text)


def test_one_setting_is_one_axis() -> None:
    with pytest.raises(ConfigError, match="given twice"):
        parse_axes(["training.momentum=0", "training.momentum=0.9"])
    with pytest.raises(ConfigError, match="give --over"):
        parse_axes([])


def test_every_combination_comes_once_and_the_last_axis_changes_fastest() -> None:
    axes = parse_axes(["training.learning-rate=1,2", "runtime.seed=0,1"])
    found = [tuple(settings.values()) for settings in combinations(axes)]
    assert found == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_a_combination_is_named_by_its_settings() -> None:
    assert label({"training.learning-rate": 60, "model.name": "cnn"}) == "learning-rate=60 name=cnn"
    assert label({}) == "as configured"
