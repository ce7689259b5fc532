from __future__ import annotations

import numpy as np
import pytest

from server.calibration import calibration


def test_the_gap_of_each_bin_counts_by_its_images():
    confidences = np.array([0.95, 0.99, 0.97, 0.55, 0.6])
    correct = np.array([True, True, False, False, False])
    found = calibration(confidences, correct)
    low, high = found["bins"]
    assert (low["low"], low["high"], low["count"]) == (0.5, 0.6, 2)  # 0.6 belongs to the bin that it ends
    assert (high["low"], high["high"], high["count"]) == (0.9, 1.0, 3)
    assert (low["confidence"], low["accuracy"]) == (pytest.approx(0.575), 0.0)
    assert (high["confidence"], high["accuracy"]) == (pytest.approx(0.97), pytest.approx(2 / 3))
    assert found["error"] == pytest.approx((2 * 0.575 + 3 * (0.97 - 2 / 3)) / 5)
    assert found["confidence"] == pytest.approx(0.812)


def test_whoever_is_as_often_right_as_it_says_has_no_error():
    assert calibration(np.full(4, 0.75), np.array([True, True, True, False]))["error"] == 0.0


def test_certainty_lies_in_the_last_bin_and_a_model_that_diverged_in_the_first():
    (last,) = calibration(np.array([1.0]), np.array([True]))["bins"]
    assert last["high"] == 1.0
    (first,) = calibration(np.array([np.nan]), np.array([True]))["bins"]
    assert (first["low"], first["count"]) == (0.0, 1)
