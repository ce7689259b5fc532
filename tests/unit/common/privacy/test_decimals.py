from __future__ import annotations

import math

import pytest

from common.privacy.decimals import decimal_text, parse_decimal


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23, "1.23"),
        (4.0, "4"),
        (100.0, "100"),
        (1e-5, "0.00001"),
        (0.1, "0.1"),
        (1e22, "1" + "0" * 22),
        (8, "8"),
    ],
)
def test_text_is_the_shortest_plain_decimal(value, text):
    assert decimal_text(value) == text
    assert parse_decimal(text) == value


@pytest.mark.parametrize(
    "text", ["1.0", "01", "+1", "1e2", " 1", "1_0", "", "nan", "Infinity", "٣", ".5", "-0.0", 1, None]
)
def test_other_forms_are_refused(text):
    with pytest.raises(ValueError, match=r"decimal|float"):
        parse_decimal(text)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_what_is_not_a_number_has_no_text(value):
    with pytest.raises(ValueError, match="no decimal form"):
        decimal_text(value)
