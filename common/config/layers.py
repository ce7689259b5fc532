"""Settings from defaults, a file, assignments and options, laid over each other and validated once."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common.config.sections import RunConfig
from common.config.text import permitted, shown
from common.config.toml_file import read_tree
from common.errors import ConfigError

Settings = dict[str, Any]
"""`section.key` in kebab case to value."""

ALTERNATIVES = {
    "training.local-steps": "training.local-epochs",
    "training.local-epochs": "training.local-steps",
    "training.sample-rate": "training.batch-size",
    "training.batch-size": "training.sample-rate",
}


_LONGEST_NAME = 80


def read_toml(path: Path) -> Settings:
    """Read a settings file.

    Raises:
        ConfigError: when it is missing, unreadable or not TOML; says where.
    """
    return flatten(read_tree(path, missing=f"`fedledger config > {path.name}` writes one"))


def flatten(tree: Mapping[str, Any]) -> Settings:
    """Turn sections into `section.key` settings; a key outside any section stays as it is."""
    flat: Settings = {}
    for section, keys in tree.items():
        if isinstance(keys, Mapping):
            flat |= {f"{section}.{key}": value for key, value in keys.items()}
        else:
            flat[section] = keys
    return flat


def parse_assignment(text: str) -> Settings:
    """Read `section.key=value`; the value is TOML, or else plain text.

    Raises:
        ConfigError: when there is no `=`.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {shown(text)} is not section.key=value, such as training.local-steps=4")
    return {key.strip(): _value(value)}


def _value(text: str) -> Any:
    try:
        tree = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return tree["value"] if len(tree) == 1 else text.strip()


def join_assignments(assignments: Iterable[Settings]) -> Settings:
    """Lay settings of one command line together.

    Raises:
        ConfigError: when two of them contradict each other.
    """
    joined: Settings = {}
    for key, value in (item for settings in assignments for item in settings.items()):
        first = joined.setdefault(key, value)
        if first is not value and (type(first) is not type(value) or first != value):
            raise ConfigError(
                f"{_name(key)} is given twice, as {shown(first)} and as {shown(value)}: give it once"
            )
    return joined


def resolve(*layers: Mapping[str, Any]) -> RunConfig:
    """Lay settings over the defaults, later layers over earlier ones, and validate the result.

    A layer that sets one of two alternatives (local-steps or local-epochs, sample-rate or batch-size)
    switches the other off, so that a user names one key and not two.

    Raises:
        ConfigError: names the key, the value, what is permitted and the nearest valid name.
    """
    merged: Settings = {}
    for layer in layers:
        chosen = [key for key in layer if key in ALTERNATIVES and layer[key] != "off"]
        merged |= {ALTERNATIVES[key]: "off" for key in chosen} | dict(layer)
    tree: dict[str, dict[str, Any]] = {}
    for name, value in merged.items():
        section, key = _known(name)
        _check_writable(name, value)
        tree.setdefault(section, {})[key] = value
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from None


@cache
def _names() -> tuple[str, ...]:
    """Return the full names of all settings."""
    return tuple(RunConfig().flat())


def _known(name: str) -> tuple[str, str]:
    names = _names()
    if name in RunConfig.model_fields:
        keys = [full for full in names if full.startswith(f"{name}.")]
        raise ConfigError(f"{name} is a section, not a setting: set one of {', '.join(keys)}")
    if name not in names:
        by_key = [full for full in names if full.partition(".")[2] == name.rpartition(".")[2]]
        nearest = by_key or difflib.get_close_matches(name[:_LONGEST_NAME], names, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]}?" if nearest else "`fedledger config` lists all settings"
        raise ConfigError(f"unknown setting {_name(name)}: {hint}")
    section, _, key = name.partition(".")
    return section, key


def _name(name: str) -> str:
    return name if name.isprintable() and len(name) <= _LONGEST_NAME else shown(name)


def _check_writable(name: str, value: object) -> None:
    """Refuse what neither a file nor the wire has room for: larger numbers, text that is not UTF-8.

    This comes before validation, whose own messages would have to write such a number out.
    """
    large = isinstance(value, int) and not -(2**63) <= value < 2**63
    broken = isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)
    if large or broken:
        allowed = permitted(*name.split("."))
        endless = "number" in allowed and not any(end in allowed for end in ("below", "at most"))
        form = ", in 64 bits" if large and endless else ", in UTF-8" if broken and allowed == "a text" else ""
        raise ConfigError(f"{name} = {shown(value)} is not permitted: give {allowed}{form}")


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    section, key = str(first["loc"][0]), str(first["loc"][1])
    value = _value_at(first["loc"], error)
    allowed = permitted(section, key)
    choices = re.findall('"([^"]+)"', allowed)
    nearest = difflib.get_close_matches(shown(value).strip("'"), choices, n=1, cutoff=0.5)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    return f"{section}.{key} = {shown(value)} is not permitted: give {allowed}{hint}"


def _value_at(location: tuple[int | str, ...], error: ValidationError) -> object:
    matching = [item for item in error.errors() if item["loc"][:2] == location[:2]]
    return matching[0]["input"]
