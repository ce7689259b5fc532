from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from server.scores import class_scores, confusion, mean_scores


def test_rows_are_what_images_show_and_columns_what_they_were_taken_for() -> None:
    counts = confusion(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3)
    assert counts.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]


def test_scores_by_hand() -> None:
    # Two of three cats were seen as cats, and one of two dogs as well.
    counts = np.array([[2, 1], [1, 1]])
    scores = class_scores(counts)
    np.testing.assert_allclose(scores.precision, [2 / 3, 1 / 2])
    np.testing.assert_allclose(scores.recall, [2 / 3, 1 / 2])
    np.testing.assert_allclose(scores.f1, [2 / 3, 1 / 2])
    assert scores.support.tolist() == [3, 2]
    assert mean_scores(counts)["accuracy"] == 3 / 5


@pytest.mark.parametrize("shown", [10, 7, 1])
@pytest.mark.parametrize("answered", [10, 6, 1])
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_scores_are_those_of_scikit_learn(shown: int, answered: int) -> None:
    generator = np.random.default_rng(shown * 100 + answered)
    labels, predictions = generator.integers(shown, size=300), generator.integers(answered, size=300)
    counts = confusion(labels, predictions, 10)
    np.testing.assert_array_equal(counts, confusion_matrix(labels, predictions, labels=np.arange(10)))

    scores = class_scores(counts)
    expected = precision_recall_fscore_support(labels, predictions, labels=np.arange(10), zero_division=0)
    got = (scores.precision, scores.recall, scores.f1, scores.support)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)

    macro = precision_recall_fscore_support(labels, predictions, average="macro", zero_division=0)
    assert mean_scores(counts) == pytest.approx(
        {
            "accuracy": accuracy_score(labels, predictions),
            "balanced_accuracy": balanced_accuracy_score(labels, predictions),
            "precision": macro[0],
            "recall": macro[1],
            "f1": macro[2],
        }
    )
