"""Named arrays as bytes: the one form in which models and updates are stored, hashed and compared."""

from __future__ import annotations

import hashlib

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
    """Say whether arrays have the same names and shapes, and the same bits: then their digest is the same."""
    return one.keys() == other.keys() and all(
        value.shape == other[name].shape
        and np.array_equal(value.view(np.uint32), other[name].view(np.uint32))
        for name, value in one.items()
    )


def digest(arrays: Arrays) -> str:
    """Return the SHA-256 (hex) of the serialised arrays, so that `sha256sum model.safetensors` prints it."""
    return hashlib.sha256(to_bytes(arrays)).hexdigest()
