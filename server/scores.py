"""Scores of a classifier, all from its confusion matrix.

A library would compute them as well; the one that does loads for over a second and takes 70 MB, which every
run would wait for and keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Scores of each of C classes, each [C]; 0 where there was nothing to count.

    Args:
        precision: of the images that were taken for the class, the share that shows it.
        recall: of the images that show the class, the share that was taken for it.
        f1: harmonic mean of both.
        support: number of images that show the class.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def confusion(labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count images by class and answer.

    Args:
        labels: what each image shows, [n], each in [0, classes).
        predictions: what it was taken for, likewise.
        classes: how many there are, C.

    Returns:
        [C, C]: rows are what images show, columns what they were taken for.
    """
    pairs = np.bincount(labels * classes + predictions, minlength=classes**2)
    return pairs.reshape(classes, classes)


def class_scores(counts: NDArray[np.int64]) -> ClassScores:
    """Return each class's scores from a confusion matrix, [C, C]."""
    right, shown, answered = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return ClassScores(
        precision=_share(right, answered),
        recall=_share(right, shown),
        f1=_share(2 * right, shown + answered),
        support=shown,
    )


def mean_scores(counts: NDArray[np.int64]) -> dict[str, float]:
    """Return accuracy, balanced accuracy and macro precision, recall and F1, each in [0, 1].

    Balanced accuracy is the mean recall of classes that are shown; macro scores are means over classes that
    are shown or answered.

    Args:
        counts: a confusion matrix, [C, C], of at least one image.
    """
    scores = class_scores(counts)
    met = (counts.sum(axis=0) + scores.support) > 0
    return {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "balanced_accuracy": float(scores.recall[scores.support > 0].mean()),
        "precision": float(scores.precision[met].mean()),
        "recall": float(scores.recall[met].mean()),
        "f1": float(scores.f1[met].mean()),
    }


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
