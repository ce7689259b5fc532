"""Whom a model serves worst, by hand-computed numbers."""

from __future__ import annotations

import pytest

from common.audit.evaluation import Evaluation, Partitions
from common.audit.fairness import ClassExtreme, ClientUtility, fairness_of


def measured(**recalls: tuple[float, int]) -> Evaluation:
    """Return test results of classes by recall and number of test images."""
    per_class = [
        {"class": name, "precision": 0.5, "recall": recall, "f1": 0.5, "support": support}
        for name, (recall, support) in recalls.items()
    ]
    means = dict.fromkeys(("accuracy", "balanced_accuracy", "precision", "recall", "f1"), 0.5)
    return Evaluation.model_validate(
        {"round": 1, "num_examples": 9, "classes": list(recalls), "per_class": per_class, "confusion": []}
        | means
    )


def held(*counts: tuple[int, ...], classes: tuple[str, ...] = ("cat", "dog", "fox")) -> Partitions:
    return Partitions(dataset="d", classes=classes, counts=counts)


THREE = measured(cat=(0.5, 100), dog=(0.75, 100), fox=(1.0, 50))


def test_recalls_are_weighed_by_what_a_client_holds():
    fairness = fairness_of(THREE, held((8, 0, 0), (0, 5, 5), (1, 2, 1)))
    assert fairness is not None
    assert fairness.worst_class == ClassExtreme(name="cat", recall=0.5)
    assert fairness.best_class == ClassExtreme(name="fox", recall=1.0)
    assert [client.accuracy for client in fairness.clients] == [0.5, 0.875, 0.75]
    assert fairness.worst_client == ClientUtility(partition_id=0, accuracy=0.5)
    assert fairness.mean == pytest.approx(2.125 / 3)
    squares = [(value - 2.125 / 3) ** 2 for value in (0.5, 0.875, 0.75)]
    assert fairness.deviation == pytest.approx((sum(squares) / 3) ** 0.5)
    assert fairness.worst_decile == 0.5


def test_the_worst_tenth_is_rounded_up():
    counts = [(10 - number, number, 0) for number in range(11)]  # accuracies 0.5, 0.525, ... 0.75
    fairness = fairness_of(THREE, held(*counts))
    assert fairness is not None
    assert fairness.worst_decile == pytest.approx((0.5 + 0.525) / 2)


def test_without_label_counts_only_classes_are_named():
    fairness = fairness_of(THREE, None)
    assert fairness is not None
    assert (fairness.clients, fairness.worst_client, fairness.mean) == ((), None, None)
    assert (fairness.deviation, fairness.worst_decile) == (None, None)
    assert fairness.worst_class.name == "cat"


def test_of_a_class_without_test_images_nothing_is_known():
    two = measured(cat=(0.5, 10), dog=(0.0, 0), fox=(1.0, 10))
    fairness = fairness_of(two, held((1, 98, 1), (0, 9, 0)))
    assert fairness is not None
    assert fairness.worst_class.name == "cat"
    assert fairness.clients == (ClientUtility(partition_id=0, accuracy=0.75),)  # the other holds dogs alone


@pytest.mark.parametrize("recall", [float("nan"), float("inf"), -1.0, 1e308])
def test_what_is_no_share_is_no_recall(recall):
    assert fairness_of(measured(cat=(recall, 9)), held((1,), classes=("cat",))) is None


@pytest.mark.parametrize(
    ("counts", "accuracy"),
    [
        ((10**400, 10**400, 0), 0.625),
        ((1,), 0.5),
        ((-5, 1, 0), 0.75),
        ((1, 1, 0, 7), 0.625),
    ],
    ids=["huge", "too few", "negative", "too many"],
)
def test_odd_counts_do_no_harm(counts, accuracy):
    fairness = fairness_of(THREE, held(counts))
    assert fairness is not None
    assert fairness.clients[0].accuracy == accuracy


def test_nothing_tested_is_nothing_known():
    assert fairness_of(None, held((1, 1, 1))) is None
