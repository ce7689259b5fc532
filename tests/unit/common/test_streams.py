from __future__ import annotations

import hashlib

import numpy as np

from common.streams import numpy_stream, stream_seed


def test_the_seed_is_the_top_63_bits_of_the_hash() -> None:
    digest = hashlib.sha256(b"fedledger/partition/7").hexdigest()
    assert stream_seed(7, "partition") == int(digest[:16], 16) // 2


def test_streams_differ_by_name_and_by_seed() -> None:
    draws = [numpy_stream(*key).integers(2**62) for key in ((0, "a"), (0, "b"), (1, "a"), (0, "a"))]
    assert len(set(draws[:3])) == 3
    assert draws[3] == draws[0]


def test_the_global_random_state_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()
    numpy_stream(0, "a").normal(size=10)
    assert np.random.get_state()[1].tolist() == before
