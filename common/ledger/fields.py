"""Reading the fields of an entry: each of the one agreed form, or an error that names it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from common.errors import LedgerError
from common.privacy.decimals import parse_decimal
from common.privacy.mechanisms import MAX_INTEGER, Mechanism, from_json

HASH = re.compile("[0-9a-f]{64}")
PUBLIC_KEY = re.compile("[A-Za-z0-9+/]{43}=")
SIGNATURE = re.compile("[A-Za-z0-9+/]{86}==")
NAME = re.compile("[A-Za-z0-9._/+-]{1,80}")


class Fields:
    """Reads fields of given kinds; anything else is a LedgerError that names the field."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.value = value

    def text(self, name: str, pattern: re.Pattern[str] = NAME) -> str:
        """Read a text that matches a pattern as a whole."""
        value = self.value.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise LedgerError(f"the field {name} is {value!r:.60}, which is not of the agreed form")
        return value

    def integer(self, name: str, least: int) -> int:
        """Read a whole number of at least `least`."""
        value = self.value.get(name)
        if type(value) is not int or not least <= value <= MAX_INTEGER:
            raise LedgerError(
                f"the field {name} is {value!r:.60}, permitted is a whole number of at least {least}"
            )
        return value

    def decimal(self, name: str) -> float:
        """Read a decimal string above 0."""
        try:
            value = parse_decimal(self.value.get(name))
        except ValueError as error:
            raise LedgerError(f"the field {name}: {error}") from None
        if value <= 0:
            raise LedgerError(f"the field {name} is {value}, permitted is a number above 0")
        return value

    def optional_decimal(self, name: str) -> float | None:
        """Read a decimal string above 0, or null."""
        if name in self.value and self.value[name] is None:
            return None
        return self.decimal(name)

    def fraction(self, name: str) -> Fraction:
        """Read [numerator, denominator] in lowest terms."""
        parts = self.value.get(name)
        if not isinstance(parts, list) or len(parts) != 2 or any(type(p) is not int or p < 1 for p in parts):
            raise LedgerError(f"the field {name} is {parts!r:.60}, permitted is [numerator, denominator]")
        value = Fraction(*parts)
        if [value.numerator, value.denominator] != parts:
            raise LedgerError(f"the field {name} is {parts}, permitted is a fraction in lowest terms")
        return value

    def mechanisms(self) -> tuple[Mechanism, ...]:
        """Read the list of mechanisms, of which there is at least one."""
        values = self.value.get("mechanisms")
        if not isinstance(values, list) or not values:
            raise LedgerError("the field mechanisms is empty or not a list")
        return tuple(from_json(value) for value in values)

    def versions(self) -> Mapping[str, str]:
        """Read the versions of libraries by name."""
        values = self.value.get("libraries")
        if not isinstance(values, dict):
            raise LedgerError("the field libraries is not an object")
        for name, text in values.items():
            if not isinstance(text, str) or not NAME.fullmatch(text) or not NAME.fullmatch(name):
                raise LedgerError(f"the field libraries holds {name!r:.60}, which is not of the agreed form")
        return values

    def key(self, name: str = "public_key") -> bytes:
        """Read a public key, 32 bytes."""
        return self.base64(name, PUBLIC_KEY)

    def base64(self, name: str, pattern: re.Pattern[str]) -> bytes:
        """Read bytes in canonical base64, of the length that a pattern fixes."""
        text = self.text(name, pattern)
        data = base64.b64decode(text, validate=True)
        if base64.b64encode(data).decode("ascii") != text:
            raise LedgerError(f"the field {name} is not canonical base64")
        return data


def as_fields(value: object, name: str) -> Fields:
    """Return the fields of a JSON object, or raise LedgerError."""
    if not isinstance(value, Mapping):
        raise LedgerError(f"{name} is not an object")
    return Fields(value)
