"""The one text of a JSON value: RFC 8785, for the values that signed records are made of.

Records hold objects, lists, ASCII text, whole numbers, true, false and null, but no floats. For these, sorted
keys without white space are already what RFC 8785 asks for, so the standard library's fast encoder serves;
a property test holds it against the reference implementation.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from common.privacy.mechanisms import MAX_INTEGER

MAX_DEPTH = 32
"""Most objects and lists inside each other. Entries need five; without a limit it would depend on how deep a
reader's own calls are whether it can read a record, and two readers could differ."""


def dumps(value: object) -> bytes:
    """Return the canonical bytes of a value.

    Raises:
        ValueError: when it holds a float, a large integer, text that is not ASCII, or another type, or is
            nested too deeply.
    """
    _refuse_deep(value)
    _refuse_ambiguous(value)
    return _encode(value).encode("ascii")


def loads(text: str) -> Any:
    """Read a value, if the text is its only canonical form.

    Raises:
        ValueError: when it is not JSON, not in canonical form, or nested too deeply.
    """
    if not text.isascii():
        raise ValueError("it holds a character that is not ASCII")
    try:
        value = _decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _refuse_deep(value)
    if _encode(value) != text:
        raise ValueError("it is not in canonical form")
    return value


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"{text:.30} is not a whole number")


def _safe_integer(text: str) -> int:
    if len(text) > _MOST_DIGITS or abs(value := int(text)) > MAX_INTEGER:
        raise ValueError(f"{text:.30} is larger than {MAX_INTEGER}")
    return value


_MOST_DIGITS = len(f"-{MAX_INTEGER}")
_decode = json.JSONDecoder(parse_int=_safe_integer, parse_float=_no_float, parse_constant=_no_float).decode


_CONTAINERS = (dict, list)
_TOO_DEEP = f"it is nested too deeply: permitted are {MAX_DEPTH} objects and lists inside each other"


def _refuse_deep(value: object, room: int = MAX_DEPTH) -> None:
    if not isinstance(value, _CONTAINERS):
        return
    if not room:
        raise ValueError(_TOO_DEEP)
    for item in value.values() if isinstance(value, dict) else value:
        _refuse_deep(item, room - 1)


def _refuse_ambiguous(value: object) -> None:
    match value:
        case None | bool():
            return
        case str():
            _refuse_other_text(value)
        case int():
            if not -MAX_INTEGER <= value <= MAX_INTEGER:
                raise ValueError(f"{value} is larger than {MAX_INTEGER}")
        case list():
            for item in value:
                _refuse_ambiguous(item)
        case dict():
            for key, item in value.items():
                _refuse_other_text(key)
                _refuse_ambiguous(item)
        case _:
            raise ValueError(f"{type(value).__name__} has no canonical form")


def _refuse_other_text(value: object) -> None:
    if not (isinstance(value, str) and value.isascii()):
        raise ValueError(f"{value!r:.60} is not ASCII text")
