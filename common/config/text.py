"""Settings as people read them: permitted values in words, and commented TOML."""

from __future__ import annotations

import itertools
import json
import textwrap
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from common.config.base import Section
from common.config.sections import RunConfig

_LONGEST_VALUE = 100
_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def shown(value: object) -> str:
    """Return a value as an error names it: printable, in one line of limited length, whatever it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python does not write whole numbers of more than 4300 digits
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def permitted(section: str, key: str) -> str:
    """Say in words which values `section.key` takes."""
    info = _section(section).model_fields[key.replace("-", "_")]
    return " or ".join(_alternatives(info.annotation, list(info.metadata)))


def describe_settings() -> str:
    """List every setting with its meaning, permitted values and default, one a line."""
    lines = []
    for name, default in RunConfig().flat().items():
        section, _, key = name.partition(".")
        info = _section(section).model_fields[key.replace("-", "_")]
        lines.append(f"{name} = {as_toml(default)}: {info.description} Takes {permitted(section, key)}.")
    return "\n".join(lines)


def to_toml(config: RunConfig) -> str:
    """Write the settings as TOML in which every key is explained; `read_toml` reads it back."""
    lines = ["# FedLedger run settings, read by `fedledger simulate --config FILE`. Every key is optional."]
    for section_name, section in config:
        lines += ["", f"# {_first_line(section)}", f"[{section_name}]"]
        for name, info in type(section).model_fields.items():
            lines += _commented(section_name, name, info, getattr(section, name))
    return "\n".join(lines) + "\n"


def _commented(section: str, name: str, info: FieldInfo, value: object) -> list[str]:
    key = name.replace("_", "-")
    comment = f"{info.description} Takes {permitted(section, key)}."
    wrapped = textwrap.wrap(comment, 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    return [*wrapped, f"{key} = {as_toml(value)}"]


def _first_line(section: Section) -> str:
    return (type(section).__doc__ or "").splitlines()[0]


def _section(name: str) -> type[Section]:
    section = RunConfig.model_fields[name].annotation
    if not isinstance(section, type) or not issubclass(section, Section):
        raise TypeError(f"{name} is not a section")
    return section


def _alternatives(annotation: Any, metadata: list[Any]) -> list[str]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _alternatives(inner, [*metadata, *more])
    if origin is Literal:
        choices = [f'"{choice}"' for choice in get_args(annotation)]
        return [f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]]
    if origin is None:
        bounds = _bounds(metadata)
        endless = annotation is float and not any(end in "".join(bounds) for end in ("below", "at most"))
        return [" ".join(["a finite number" if endless else _WORDS[annotation], *bounds])]
    return [words for part in get_args(annotation) for words in _alternatives(part, metadata)]


def _bounds(metadata: list[Any]) -> list[str]:
    nested = [item.metadata if isinstance(item, FieldInfo) else [item] for item in metadata]
    words = []
    for limit in itertools.chain.from_iterable(nested):
        match limit:
            case annotated_types.Gt(gt=bound):
                words.append(f"above {bound}")
            case annotated_types.Ge(ge=bound):
                words.append(f"at least {bound}")
            case annotated_types.Lt(lt=bound):
                words.append(f"below {bound}")
            case annotated_types.Le(le=bound):
                words.append(f"at most {bound}")
    return [" and ".join(words)] if words else []


def as_toml(value: object) -> str:
    """Return a setting's value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
