from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from common import canonical

texts = st.text(st.characters(max_codepoint=127), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(values)
def test_it_is_what_the_reference_implementation_of_rfc_8785_writes(value):
    text = canonical.dumps(value)
    assert text == rfc8785.dumps(value)
    assert canonical.loads(text.decode()) == value
    spaced = json.dumps(value, indent=1)
    if spaced != text.decode():
        with pytest.raises(ValueError, match="canonical"):
            canonical.loads(spaced)


@pytest.mark.parametrize("value", [1.0, float("nan"), 2**53, -(2**53), "ü", {"ü": 1}, {1: 2}, [b"x"], (1,)])
def test_what_has_several_forms_is_not_written(value):
    with pytest.raises(ValueError, match="."):
        canonical.dumps(value)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_how_deep_a_record_may_be_does_not_depend_on_its_reader(opening, closing):
    def nested(depth: int) -> str:
        return opening * depth + ("1" if closing == "}" else "") + closing * depth

    def read_below(frames: int, text: str) -> object:
        return read_below(frames - 1, text) if frames else canonical.loads(text)

    deepest = nested(canonical.MAX_DEPTH)
    assert canonical.dumps(read_below(600, deepest)).decode() == deepest
    for depth in (canonical.MAX_DEPTH + 1, 300, 600, 900, 10**5):
        with pytest.raises(ValueError, match="nested too deeply: permitted are 32"):
            canonical.loads(nested(depth))
    with pytest.raises(ValueError, match="nested too deeply"):
        canonical.dumps(json.loads(nested(canonical.MAX_DEPTH + 1)))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1.0}',
        '{"a":1e3}',
        '{"a":NaN}',
        "-0",
        "01",
        '"\\u0041"',
        '{"b":1,"a":2}',
        '{"a":1,"a":1}',
        "[" * 10**5,
        '"ü"',
        '"\\u00fc"',
        "",
        "{",
        "9" * 5000,
        "9007199254740992",
        "[-9007199254740992]",
    ],
)
def test_only_the_canonical_form_is_read(text):
    with pytest.raises(ValueError, match="."):
        canonical.loads(text)
