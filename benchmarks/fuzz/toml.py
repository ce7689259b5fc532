"""Settings as TOML text, in every spelling that the language has."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from random import Random
from typing import Any

from benchmarks.fuzz.values import deep, to_text

_BARE = re.compile("[A-Za-z0-9_-]+")
_LITERALS = (
    *("0x7FFF", "0o17", "0b1010", "1_000", "1__0", "01", "+1", "+0", "-0", "1e3", "1E+3", "1."),
    *(".5", "+inf", "-nan", "nan"),
    *("9" * 4300, "9" * 4301, "0x" + "f" * 4000, "1e400", "1e-400", "9" * 400 + ".0"),
    *("0." + "0" * 400 + "1", "1979-05-27"),
    *("1979-13-45", "25:00:00", "07:32:00", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00-25:00"),
    *("0000-01-01",),
    *("1979-05-27T00:32:00.999999999999-07:00", "1979-05-27T00:32:00+99:99", "'literal'"),
    *("'''multi\nline'''",),
    *('"""multi\nline"""', '"\\u00e9"', '"\\ud800"', '"\\U0010ffff"', '"\\U00110000"', '"\\x41"'),
    *('"\\n"', '"', "'''"),
    *("[1, 2]", "[1,\n2, # c\n]", "[]", "[[1], ['a']]", "{a = 1}", "{a = {b = {}}}"),
    *("{a = 1, a = 2}", "{}", "{,}", "true"),
    *("True", "auto", "off", "", " # nothing", "1 2", "@", "=", "1 = 2", "\ufeff1", "\x00"),
    *("1\r", "1\x0c"),
)
_SECTIONS = (
    *("training", "privacy", "data", "a.b", "'quoted'", '"training"', "training.local-steps", ""),
    *("[training]", "x y"),
)


def document(settings: Mapping[str, Any], random: Random) -> str:
    """Return settings as a file, sometimes with what files should not hold."""
    newline = random.choice(("\n", "\n", "\n", "\r\n"))
    lines = list(_body(settings, random))
    if random.random() < 0.3:
        lines.insert(random.randrange(len(lines) + 1), _oddity(random))
    return newline.join(lines) + random.choice(("", newline))


def assignment(settings: Mapping[str, Any], random: Random) -> list[str]:
    """Return settings as texts of the form section.key=value."""
    space = random.choice(("", "", " ", "\t"))
    pairs = [f"{key}{space}={space}{_value(value, random)}" for key, value in settings.items()]
    texts = [pair.replace("\n", "\\n") for pair in pairs]
    if texts and random.random() < 0.2:
        texts.append(
            random.choice((random.choice(texts), "=", "", "a", "a=", "=1", "training.local-steps=1\rb"))
        )
    return texts or ["training.local-steps=4"]


def _body(settings: Mapping[str, Any], random: Random) -> Iterator[str]:
    style = random.choice(("sections", "sections", "dotted", "quoted", "inline"))
    section = None
    for name, value in settings.items():
        place, _, key = name.partition(".")
        text = _value(value, random)
        if style == "sections":
            if place != section:
                section = place
                yield f"[{_key(place)}]"
            yield f"{_key(key)} = {text}"
        elif style == "dotted":
            yield f"{_key(place)}.{_key(key)} = {text}"
        elif style == "quoted":
            yield f"{json.dumps(name)} = {text}"
        else:
            yield f"{_key(place)} = {{ {_key(key)} = {text} }}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _oddity(random: Random) -> str:
    section = random.choice(_SECTIONS)
    headers = (f"[{section}]", f"[[{section}]]", f"{section} = 1")
    return random.choice((*headers, "# comment", "\t", "key", "= 1", f"x = {_literal(random)}"))


def _literal(random: Random) -> str:
    if random.random() < 0.1:
        text = to_text(deep(random))
        return text if text.startswith("[") else text.replace(":", "=").replace('"', "")
    return random.choice(_LITERALS)


def _value(value: Any, random: Random) -> str:
    if random.random() < 0.12:
        return _literal(random)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        large = value.bit_length() > 9000 or random.random() < 0.1
        return hex(value) if value >= 0 and large else _decimal(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) or random.random() < 0.5 else f"+{value}"
    return _other(value, random)


def _decimal(value: int) -> str:
    return str(value) if value.bit_length() < 9000 else "-1"


def _other(value: Any, random: Random) -> str:
    if isinstance(value, str):
        plain = "'" not in value and value.isprintable() and random.random() < 0.3
        return f"'{value}'" if plain else json.dumps(value, ensure_ascii=random.random() < 0.5)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item, random) for item in value[:50])}]"
    if isinstance(value, dict):
        pairs = [f"{_key(key)} = {_value(item, random)}" for key, item in value.items()]
        return f"{{{', '.join(pairs)}}}"
    return value.isoformat() if isinstance(value, date | time | datetime) else str(value)
