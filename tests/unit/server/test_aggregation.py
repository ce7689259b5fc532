from __future__ import annotations

import numpy as np
import pytest

from common.errors import MessageError
from common.protocol import Update
from server.aggregation import StreamingMean, check_update

MODEL = {"w": np.zeros((2, 2), dtype=np.float32), "b": np.zeros(2, dtype=np.float32)}


def filled(value: float) -> dict:
    return {name: np.full_like(array, value) for name, array in MODEL.items()}


def update(arrays: dict, num_examples: int = 10) -> Update:
    return Update(partition_id=0, num_examples=num_examples, arrays=arrays, ledger_lines=())


def test_the_mean_is_weighted():
    mean = StreamingMean(MODEL)
    mean.add(filled(1.0), 1.0)
    mean.add(filled(5.0), 3.0)
    assert mean.mean()["w"].tolist() == [[4.0, 4.0], [4.0, 4.0]]
    assert mean.mean()["w"].dtype == np.float32


def test_nothing_added_gives_zeros():
    assert not StreamingMean(MODEL).mean()["b"].any()


def test_sums_do_not_lose_small_updates():
    mean = StreamingMean(MODEL)
    mean.add(filled(2.0**24), 1.0)
    for _ in range(4):
        mean.add(filled(1.0), 1.0)
    assert mean.mean()["b"][0] == np.float32((2.0**24 + 4) / 5)


def test_a_good_update_passes():
    check_update(update(filled(1.0)), like=MODEL, num_examples=10)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (update(filled(np.nan)), "not finite"),
        (update(filled(np.inf)), "not finite"),
        (update({"w": MODEL["w"]}), "'b' is missing or unknown"),
        (update({**MODEL, "extra": MODEL["b"]}), "'extra'"),
        (update({**MODEL, "b": np.zeros(3, dtype=np.float32)}), r"shape \[3\], not \[2\]"),
        (update({**MODEL, "b": np.zeros(2, dtype=np.float64)}), "type float64"),
        (update(filled(1.0), num_examples=1000), "claims 1000 examples where its ledger says 10"),
        (update(filled(1.0), num_examples=-10), "claims -10"),
    ],
)
def test_a_bad_update_is_refused_with_its_reason(bad, reason):
    with pytest.raises(MessageError, match=reason):
        check_update(bad, like=MODEL, num_examples=10)
