"""Named streams of a run's seed, for randomness that protects nobody.

Each purpose (partitions, initial weights, ...) draws from a stream of its own, so that drawing more for one
leaves the others as they were. Sampling, noise and augmentation of private images never come from here.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream_seed(seed: int, name: str) -> int:
    """Derive the 63-bit seed of the stream `name` from the run's seed."""
    digest = hashlib.sha256(f"fedledger/{name}/{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(seed: int, name: str) -> np.random.Generator:
    """Open the stream `name` of the run's seed."""
    return np.random.default_rng(stream_seed(seed, name))
