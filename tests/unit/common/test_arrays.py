from __future__ import annotations

import hashlib

import numpy as np
import pytest

from common.arrays import digest, from_bytes, same_bits, to_bytes

ARRAYS = {"b": np.float32([[1, 2], [3, 4]]), "a": np.float32([0.5])}


def test_bytes_round_trip():
    read = from_bytes(to_bytes(ARRAYS))
    assert set(read) == {"a", "b"}
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(read[name], value)


def test_the_digest_is_that_of_the_file_and_ignores_order():
    assert digest(ARRAYS) == hashlib.sha256(to_bytes(ARRAYS)).hexdigest()
    assert digest(dict(reversed(ARRAYS.items()))) == digest(ARRAYS)


@pytest.mark.parametrize(
    "arrays",
    [
        {
            "b": np.ones((2, 3), np.float32),
            "a.10": np.zeros(4, np.float32),
            "a.9": np.full((1, 1), 7, np.float32),
        },
        {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T},
        {"a": np.float32([[1, 2], [3, 4]])[:, ::-1], "e": np.zeros((0, 3), np.float32)},
        {"a": np.arange(6, dtype=np.int32), "b": np.ones(3, np.float32)},
        {},
    ],
)
def test_the_digest_of_any_arrays_is_that_of_their_file(arrays):
    assert digest(arrays) == hashlib.sha256(to_bytes(arrays)).hexdigest()


def test_a_transposed_view_is_serialised_as_it_reads():
    view = {"a": np.float32([[1, 2], [3, 4]]).T}
    np.testing.assert_array_equal(from_bytes(to_bytes(view))["a"], [[1, 3], [2, 4]])


def test_one_bit_changes_the_digest():
    changed = {**ARRAYS, "a": np.nextafter(ARRAYS["a"], np.float32(1))}
    assert digest(changed) != digest(ARRAYS)


def test_the_same_bits_are_told_from_equal_numbers():
    zero = {"w": np.zeros((2, 3), dtype=np.float32)}
    below = {"w": -zero["w"]}
    nan = {"w": np.full((2, 3), np.nan, dtype=np.float32)}
    assert same_bits(zero, {"w": zero["w"].copy()})
    assert same_bits(nan, {"w": nan["w"].copy()})
    assert (zero["w"] == below["w"]).all()
    assert not same_bits(zero, below)
    assert not same_bits(zero, {"w": zero["w"].reshape(3, 2)})
    assert not same_bits(zero, {"v": zero["w"]})
    assert not same_bits(zero, {**zero, "v": zero["w"]})
    assert not same_bits(zero, {"w": zero["w"].astype(np.int32)})
    fixed = zero["w"].copy()
    fixed.flags.writeable = False
    assert same_bits({"w": fixed}, {"w": fixed})
    assert not same_bits({"w": fixed}, {"w": fixed.T})
    half = {"w": np.zeros((3, 3), dtype=np.float16)}
    assert same_bits(half, {"w": half["w"].copy()})
