"""Changes to a JSON value, and texts that JSON readers are known to disagree on."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Callable
from random import Random
from typing import Any

RAW = (
    *(
        "1.0",
        "-0",
        "0.0",
        "-0.0",
        "1e5",
        "1E400",
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        "1_000",
        "0x10",
        ".",
    ),
    *("9007199254740991", "9007199254740992", "-9007199254740992", "9" * 40, "9" * 4301, "-" + "9" * 20000),
    *(
        '"\\u0041"',
        '"\\/"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\u00e9"',
        '"\\u0000"',
        '"\\n"',
        '"\\u000a"',
        '"\t"',
    ),
    *(
        '{"a":1,"a":1}',
        '{"b":1,"a":2}',
        "[1, 2]",
        "{}",
        "[]",
        "True",
        "null ",
        "'a'",
        "",
        "[1,]",
        "/**/1",
        '"a',
    ),
)
"""Put into a text as they are."""

_LIMIT = sys.getrecursionlimit()
_MARK = re.compile(r'"@@([\[{r])(\d+)@@"')
_PLAIN: tuple[Any, ...] = (
    *(0, 1, -1, 2, 5, 2**31, 2**53 - 1, 2**53, 2**64, 10**30),
    *(True, False, None, "", "a", "0", "1", [], {}),
)
_TEXTS = (
    *("GENESIS", "AMEND", "RESERVE", "RELEASE", "ABORT", "RECEIPT", "KEY_ROTATE"),
    *("HEAD", "ROUND", "ENROL", "-0"),
)
_NUMBERS = (
    *("1.250", "1.0", "1e3", "inf", "nan", "0", "-1", "0.1", "100"),
    *("9" * 309, "9" * 401, "0." + "0" * 323 + "5"),
)
_KINDS = (
    *("chacha20", "none", "zero-out", "fedledger/2"),
    *("gaussian", "laplace", "unprotected", "poisson-gaussian"),
)
_STRANGE = ("é", "\ud800", "\x00", "a\nb", "\u2028", "a b", "A" * 90, "\x7f", "..", "\u0663", "\uff41")


def mutate_value(root: Any, donor: Any, random: Random) -> Any:
    """Return a JSON value with one to three changes; parts of `donor` may be taken over."""
    root = copy.deepcopy(root)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        holder, key = _place(root, random)
        if holder is None:
            return _fresh(random)
        random.choice(_CHANGES)(holder, key, donor, random)
    return root


def to_text(value: Any, random: Random | None = None) -> str:
    """Write a value, with raw texts in their places; with `random`, not always in canonical form."""
    style: dict[str, Any] = {"sort_keys": True, "separators": (",", ":")}
    if random and random.random() < 0.06:
        changes = ({"sort_keys": False}, {"separators": (", ", ": ")}, {"ensure_ascii": False}, {"indent": 1})
        style |= random.choice(changes)
    return _MARK.sub(_raw, json.dumps(value, **style))


def deep(random: Random) -> str:
    """Return a mark for nesting, mostly near the depth at which readers give up."""
    depth = random.choice(
        (3, 30, _LIMIT - random.randrange(60), _LIMIT - random.randrange(140), 2 * _LIMIT, 30_000)
    )
    return f"@@{random.choice('[{')}{depth}@@"


def _raw(match: re.Match[str]) -> str:
    kind, number = match[1], int(match[2][:5])
    if kind == "r":
        return RAW[number % len(RAW)]
    return "[" * number + "]" * number if kind == "[" else '{"a":' * number + "1" + "}" * number


def _place(root: Any, random: Random) -> tuple[Any, Any]:
    """Choose a place in a value: a container and a key in it."""
    places: list[tuple[Any, Any]] = []
    waiting = [root]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict | list) and holder:
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            places += [(holder, key) for key in keys]
            waiting += [holder[key] for key in keys]
    return random.choice(places) if places else (None, None)


def _fresh(random: Random) -> Any:
    roll = random.random()
    if roll < 0.12:
        return deep(random)
    if roll < 0.4:
        return f"@@r{random.randrange(len(RAW))}@@"
    return copy.copy(random.choice(random.choice((_PLAIN, _TEXTS, _NUMBERS, _KINDS, _STRANGE))))


def _replace(holder: Any, key: Any, _: Any, random: Random) -> None:
    holder[key] = _fresh(random)


def _nudge(holder: Any, key: Any, _: Any, random: Random) -> None:
    """Change a value a little."""
    value = holder[key]
    if type(value) is int:
        holder[key] = value + random.choice((-1, 1, 2, -2, 10, -value, 2**53))
    elif isinstance(value, str) and value:
        holder[key] = _nudged(value, random)
    elif isinstance(value, list):
        random.choice(
            (value.reverse, value.clear, lambda: value.append(value[:1]), lambda: value.extend(value))
        )()
    else:
        holder[key] = _fresh(random)


def _nudged(text: str, random: Random) -> str:
    at, letter = random.randrange(len(text)), random.choice('0123456789abcdefAz=+/ \n.-_"\\é')
    choices: tuple[Callable[[], str], ...] = (
        lambda: text[:at] + letter + text[at + 1 :],
        lambda: text[:at] + letter + text[at:],
        lambda: text[:at] + text[at + 1 :],
        text.swapcase,
        lambda: text + random.choice(("\n", " ", "0", "=", ".0", text)),
        lambda: text[:at],
    )
    return random.choice(choices)()


def _retype(holder: Any, key: Any, _: Any, random: Random) -> None:
    value = holder[key]
    scalar = value if isinstance(value, str | int) else 0
    holder[key] = random.choice(
        (str(scalar), [value], {"a": value}, bool(value), len(str(scalar)), None, f"{scalar}.0")
    )


def _remove(holder: Any, key: Any, _: Any, __: Random) -> None:
    del holder[key]


def _rename(holder: Any, key: Any, _: Any, random: Random) -> None:
    if isinstance(holder, dict):
        holder[_nudged(key, random) if key and random.random() < 0.7 else random.choice(_STRANGE)] = (
            holder.pop(key)
        )


def _add(holder: Any, key: Any, donor: Any, random: Random) -> None:
    """Add a field or an item, unknown or of another record."""
    if isinstance(holder, list):
        holder.insert(key, _fresh(random))
    else:
        source, name = _place(donor, random)
        known = isinstance(source, dict)
        holder[name if known else "unknown"] = copy.deepcopy(source[name]) if known else _fresh(random)


def _transplant(holder: Any, key: Any, donor: Any, random: Random) -> None:
    """Take over the value of the same name from another record, or else any."""
    source, name = _place(donor, random)
    if isinstance(donor, dict) and isinstance(holder, dict) and key in donor:
        source, name = donor, key
    if source is not None:
        holder[key] = copy.deepcopy(source[name])


def _exchange(holder: Any, key: Any, _: Any, random: Random) -> None:
    """Exchange two values of one container."""
    other = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


_CHANGES: tuple[Callable[[Any, Any, Any, Random], None], ...] = (
    *(_replace, _replace, _nudge, _nudge, _nudge, _nudge, _retype, _remove),
    *(_rename, _add, _transplant, _transplant, _exchange),
)
