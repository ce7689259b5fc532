"""The average over rounds, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from common.config import resolve
from server.averaging import averaged
from server.strategy import FedAvg

OLD, NEW = {"w": np.float32([1.0, -2.0])}, {"w": np.float32([12.0, 9.0])}


@pytest.mark.parametrize(
    ("number", "decay", "share"), [(1, 0.9, 2 / 11), (8, 0.9, 0.5), (71, 0.9, 72 / 81), (80, 0.9, 0.9)]
)
def test_the_share_of_the_old_average_grows_up_to_the_decay(number, decay, share):
    mean = averaged(OLD, NEW, number=number, decay=decay)
    np.testing.assert_allclose(mean["w"], share * OLD["w"] + (1 - share) * NEW["w"], rtol=1e-6)
    assert mean["w"].dtype == np.float32
    assert OLD["w"].tolist() == [1.0, -2.0]


def test_what_does_not_move_is_its_own_average_to_the_bit():
    still = {"w": np.float32([0.1, 1e-20, 3e20])}
    assert averaged(still, still, number=5, decay=0.99)["w"].tolist() == still["w"].tolist()


def test_no_average_is_kept_where_none_is_wanted():
    plan = FedAvg(resolve({}), (0,))
    assert plan.next_average(None, NEW, 1) is None
