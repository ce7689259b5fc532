"""Named arrays as bytes: the one form in which models and updates are stored, hashed and compared."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

Arrays = dict[str, NDArray[np.float32]]


def to_bytes(arrays: Arrays) -> bytes:
    """Serialise as safetensors; equal arrays give equal bytes whatever their order."""
    return save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)})


def from_bytes(data: bytes) -> Arrays:
    """Read what `to_bytes` wrote.

    Raises:
        safetensors.SafetensorError: when the bytes are not a complete safetensors file.
    """
    return load(data)


def same_bits(one: Arrays, other: Arrays) -> bool:
    """Say whether arrays have the same names, kinds, shapes and bits: then their digest is the same."""
    return one.keys() == other.keys() and all(
        _is_same(value, other[name]) or _alike(value, other[name]) for name, value in one.items()
    )


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    where, there = one.__array_interface__, other.__array_interface__
    is_fixed = not (one.flags.writeable or other.flags.writeable)
    return is_fixed and all(where[key] == there[key] for key in ("data", "shape", "strides", "typestr"))


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype != np.float32:
        return one.tobytes() == other.tobytes()
    return np.array_equal(one.view(np.uint32), other.view(np.uint32))


def digest(arrays: Arrays) -> str:
    """Return the SHA-256 (hex) of the serialised arrays, so that `sha256sum model.safetensors` prints it."""
    if any(value.dtype != np.float32 or not value.size for value in arrays.values()):
        return hashlib.sha256(to_bytes(arrays)).hexdigest()
    begin, order = _layout(tuple((name, arrays[name].shape) for name in sorted(arrays)))
    summed = hashlib.sha256(begin)
    for name in order:
        summed.update(np.ascontiguousarray(arrays[name]).reshape(-1).data)
    return summed.hexdigest()


@lru_cache(maxsize=16)
def _layout(shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> tuple[bytes, list[str]]:
    """Return how a file of float32 arrays begins, and the order in which they follow: that of safetensors."""
    data = to_bytes({name: np.zeros(shape, dtype=np.float32) for name, shape in shapes})
    begin = data[: 8 + int.from_bytes(data[:8], "little")]
    places = {name: entry["data_offsets"] for name, entry in json.loads(begin[8:]).items()}
    return begin, sorted(places, key=places.__getitem__)
