"""Numbers as decimal text: the one form in which a real number enters a signed record.

A JSON float may be printed in several ways; a signature needs exactly one. The text is the shortest plain
decimal that reads back as the same float: no exponent, no trailing zero.
"""

from __future__ import annotations

import math
from decimal import Decimal


def decimal_text(value: float) -> str:
    """Write a finite number as its shortest plain decimal, such as "1.23", "4" or "0.00001".

    Raises:
        ValueError: when the value is infinite or not a number.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} has no decimal form")
    text = format(Decimal(repr(float(value))), "f")
    return text.removesuffix(".0")


def parse_decimal(text: object) -> float:
    """Read what `decimal_text` wrote, and nothing else.

    Raises:
        ValueError: when the text is not the one form that `decimal_text` writes.
    """
    if not isinstance(text, str) or not text.isascii() or len(text) > 400:
        raise ValueError(f"{text!r:.60} is not a decimal string")
    value = float(text)
    if not math.isfinite(value) or decimal_text(value) != text:
        raise ValueError(f"{text!r:.60} is not the shortest plain decimal of its value")
    return value
