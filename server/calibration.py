"""Whether a model's probabilities are to be believed: its calibration on labelled images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 10


def calibration(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> dict[str, Any]:
    """Hold confidences against how often they were right, in bins of equal width.

    The expected calibration error is the gap between confidence and accuracy of a bin, averaged over images.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.

    Args:
        confidences: probability of the class that was answered, [n], 0 to 1; not a number of a model that
            diverged, and then in the first bin.
        correct: whether that class was right, [n].

    Returns:
        `error` and mean `confidence` (0 to 1), and `bins` that hold images: their bounds `low` and `high`,
        mean `confidence`, `accuracy` and `count`.
    """
    numbers = np.clip(np.ceil(np.nan_to_num(confidences) * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    bins = [
        {
            "low": number / NUM_BINS,
            "high": (number + 1) / NUM_BINS,
            "confidence": float(confidences[numbers == number].mean()),
            "accuracy": float(correct[numbers == number].mean()),
            "count": int((numbers == number).sum()),
        }
        for number in np.unique(numbers).tolist()
    ]
    gaps = [part["count"] * abs(part["confidence"] - part["accuracy"]) for part in bins]
    return {"error": sum(gaps) / len(correct), "confidence": float(confidences.mean()), "bins": bins}
