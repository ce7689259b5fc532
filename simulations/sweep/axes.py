"""What a sweep varies: settings with the values that each takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from common.config import Settings, parse_assignment
from common.config.text import as_toml, shown
from common.errors import ConfigError

SEED = "runtime.seed"
EXAMPLE = "training.learning-rate=60,120"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One setting and the values that it takes, in the order in which they were given."""

    key: str
    values: tuple[Any, ...]


def parse_axis(text: str) -> Axis:
    """Read `section.key=value,value`; each value is TOML, or else plain text.

    Raises:
        ConfigError: when there is no `=`, a value is missing or twice there, or nothing depends on it.
    """
    key, separator, values = (part.strip() for part in text.partition("="))
    if not separator or not key:
        raise ConfigError(f"--over {shown(text)} is not section.key=value,value, such as {EXAMPLE}")
    written = [value.strip() for value in values.split(",")]
    if not all(written):
        raise ConfigError(f"--over {key} lacks a value in {shown(values)}: give some, such as {EXAMPLE}")
    if key.startswith("runtime.") and key != SEED:
        raise ConfigError(f"--over {key} changes no result: of runtime.*, only {SEED} can be compared")
    read = tuple(parse_assignment(f"{key}={value}")[key] for value in written)
    for value in read:
        if read.count(value) > 1:
            raise ConfigError(f"--over {key} has the value {shown(value)} twice: give each once")
    return Axis(key=key, values=read)


def parse_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Read all axes of a command line.

    Raises:
        ConfigError: when there is none, one cannot be read, or two are of one setting.
    """
    if not texts:
        raise ConfigError(f"a sweep needs settings to compare: give --over, such as --over {EXAMPLE}")
    axes = tuple(parse_axis(text) for text in texts)
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"--over {key} is given twice: give all of its values in one")
    return axes


def combinations(axes: Iterable[Axis]) -> list[Settings]:
    """Return every combination of values; the last axis changes fastest."""
    axes = list(axes)
    rows = itertools.product(*(axis.values for axis in axes))
    return [dict(zip((axis.key for axis in axes), row, strict=True)) for row in rows]


def label(settings: Settings) -> str:
    """Name a combination by its settings, such as `learning-rate=60 max-grad-norm=0.1`."""
    names = [f"{key.partition('.')[2]}={value_text(value)}" for key, value in settings.items()]
    return " ".join(names) or "as configured"


def value_text(value: object) -> str:
    """Write a setting's value without quotes."""
    return value if isinstance(value, str) else as_toml(value)
