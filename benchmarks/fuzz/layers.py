"""Settings as Python values: plausible, nearly right, and of kinds that no setting has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import cache
from random import Random
from typing import Any

from common.config import RunConfig, Settings
from common.config.text import permitted

_NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 10, 255, 1000, 1001, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64),
    *(10**22, 10**400, 10**5000),
    *(0.0, -0.0, 0.5, 1.0, 1.0000000000000002, 0.9999999999999999, 1e-6, 9.99e-7, 1e6, 0.01),
    *(1e-5, 0.1 + 0.2),
    *(1e16, 1e22, 1e308, 5e-324, 1e-300, 123456789.123456789, float("nan"), float("inf")),
    *(float("-inf"),),
)
_TEXTS = (
    *("auto", "off", "", "none", "AUTO", " off", "1", "true", "null", "cpu", "cuda:0", "a\nb"),
    *('say "hi"', "back\\slash"),
    *("tab\t", "\x00", "\x7f", "\x1b[31m", "é", "\u2028", "\U0001f600", "\ud800", "'''", '"""'),
    *("#no", "a" * 3000, "\r\n"),
)
_STRANGE: tuple[Any, ...] = (
    *(True, False, None, [], [1, 2], ["auto"], [[[]]], {}, {"a": 1}, {"a": {"b": [{}]}}, ()),
    *((1,), b"auto", 1j),
    *(date(2020, 2, 29), time(23, 59, 59, 5), datetime(2020, 1, 1, tzinfo=UTC), datetime(1, 1, 1), range(3)),
    *([0] * 5000, {"x": "y" * 5000}, "z" * 100_000),
)
_JUNK = (
    *("", ".", "..", "training", "training.", ".epsilon", "privacy.epsilon.x", "a.b.c", "\n", "é.è"),
    *("model_config", "#"),
)


@cache
def plausible() -> Mapping[str, tuple[Any, ...]]:
    """Return values by setting, of which most are permitted."""
    found = {}
    for name, default in RunConfig().flat().items():
        section, _, key = name.partition(".")
        choices = re.findall('"([^"]+)"', permitted(section, key))
        numbers = (1, 2, 7, 64, 0.5, 0.25, 0.9, 1.0) if type(default) is not bool else (True, False)
        found[name] = (default, *choices, *numbers)
    return found


def random_settings(random: Random) -> Settings:
    """Return some settings; nearly half of the layers are permitted altogether."""
    wild = random.random() < 0.6
    count = random.choice((0, 1, 1, 1, 2, 2, 3, 6, 20))
    return dict(_setting(wild and random.random() < 0.5, random) for _ in range(count))


def _setting(wild: bool, random: Random) -> tuple[str, Any]:
    name = random.choice(list(plausible()))
    value = random.choice(plausible()[name])
    if not wild:
        return name, value
    roll = random.random()
    if roll < 0.15:
        return _near(name, random), value
    if roll < 0.2:
        return random.choice(_JUNK), value
    return name, random_value(random)


def random_value(random: Random) -> Any:
    """Return a value that few settings permit."""
    roll = random.random()
    if roll < 0.1:
        return random.choice((random.uniform(-2, 2), 10 ** random.uniform(-320, 308), random.getrandbits(80)))
    if roll < 0.2:
        return _near(random.choice(random.choice(list(plausible().values()))), random)
    return random.choice(random.choice((_NUMBERS, _NUMBERS, _TEXTS, _STRANGE)))


def _near(value: Any, random: Random) -> Any:
    """Return a text that is nearly another."""
    text = str(value)
    at = random.randrange(len(text) + 1)
    choices: tuple[Callable[[], str], ...] = (
        lambda: text.replace("-", "_"),
        text.upper,
        lambda: text[:at] + text[at + 1 :],
        lambda: text[:at] + random.choice("abz-_. \n\u0430") + text[at:],
        lambda: text.rpartition(".")[2],
        lambda: f"privacy.{text.rpartition('.')[2]}",
        lambda: text + random.choice((" ", "\n", "s", ".")),
    )
    return random.choice(choices)()


def pack_layers(layers: Sequence[Mapping[Any, Any]]) -> bytes:
    """Write layers as JSON; what JSON lacks is an object of its kind and text."""
    return json.dumps([[[key, _pack(value)] for key, value in layer.items()] for layer in layers]).encode()


def unpack_layers(data: bytes) -> list[Settings]:
    """Read what `pack_layers` wrote."""
    return [{key: _unpack(value) for key, value in layer} for layer in json.loads(data)]


def _pack(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, list):
        return [_pack(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item)] for key, item in value.items()]}
    for kind, (cls, write, _) in _KINDS.items():
        if type(value) is cls:
            return {kind: write(value)}
    raise TypeError(type(value).__name__)


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: _unpack(item) for key, item in content}
    return _KINDS[kind][2](content)


_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "int": (int, hex, lambda text: int(text, 16)),
    "float": (float, repr, float),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "complex": (complex, repr, complex),
    "tuple": (tuple, list, tuple),
    "range": (range, len, range),
}
