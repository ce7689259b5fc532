"""An average of the model over rounds: steadier than the model that noise has just moved."""

from __future__ import annotations

import numpy as np

from common.arrays import Arrays


def averaged(average: Arrays, arrays: Arrays, *, number: int, decay: float) -> Arrays:
    """Return the average after a round: the old one, moved towards the round's model.

    Its memory grows with the rounds, so that the random beginning is soon forgotten: the share of the old
    average is min(decay, (1 + t) / (10 + t)). Source: De et al. 2022, "Unlocking High-Accuracy
    Differentially Private Image Classification through Scale", section 3.

    Args:
        average: the average before, shaped like `arrays`.
        arrays: the model after the round.
        number: of the round, t, from 1 on.
        decay: largest share of the old average, above 0 and below 1.

    Privacy:
        It is computed from released updates alone: post-processing, which costs nothing.
    """
    share = np.float32(1 - min(decay, (1 + number) / (10 + number)))
    return {name: average[name] + share * (arrays[name] - average[name]) for name in arrays}
