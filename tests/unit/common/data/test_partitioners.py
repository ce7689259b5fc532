from __future__ import annotations

import re

import numpy as np
import pytest

from common.data import PARTITIONERS, label_counts, partition
from common.data.partitioners import dirichlet_shares, top_up
from common.errors import ConfigError, DataError


def _labels(count: int, classes: int = 10) -> np.ndarray:
    return np.random.default_rng(3).integers(0, classes, count)


def _assert_divides(parts: list[np.ndarray], count: int) -> None:
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(count))


def test_iid_sizes_differ_by_one_at_most() -> None:
    parts = partition(_labels(10), partitioner="iid", num_partitions=3, seed=0, min_partition_size=1)
    assert sorted(len(part) for part in parts) == [3, 3, 4]
    _assert_divides(parts, 10)


def test_iid_mixes_records_that_lie_sorted_by_class() -> None:
    labels = np.repeat(np.arange(10), 200)
    counts = label_counts(labels, partition(labels, partitioner="iid", num_partitions=4, seed=0), 10)
    assert counts.min() > 25  # 50 expected
    assert counts.max() < 80


def test_the_dirichlet_draw_is_that_of_flower_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    partitioner_module = pytest.importorskip("flwr_datasets.partitioner")
    labels = _labels(600)
    theirs = partitioner_module.DirichletPartitioner(
        num_partitions=5, partition_by="label", alpha=0.5, min_partition_size=0, shuffle=False, seed=42
    )
    theirs.dataset = datasets.Dataset.from_dict({"label": labels.tolist(), "record": list(range(600))})
    ours = dirichlet_shares(labels, 5, 0.5, np.random.default_rng(42))
    for client, part in enumerate(ours):
        assert part.tolist() == list(theirs.load_partition(client)["record"])


def test_a_smaller_alpha_makes_labels_more_unequal() -> None:
    labels = _labels(5_000)

    def largest_share(alpha: float) -> float:
        parts = partition(labels, partitioner="dirichlet", num_partitions=10, seed=0, alpha=alpha)
        counts = label_counts(labels, parts, 10)
        return float((counts.max(axis=1) / counts.sum(axis=1)).mean())

    assert largest_share(1_000.0) < 0.15  # a tenth when all is equal
    assert largest_share(0.1) > 0.4


def test_a_thousand_clients_of_twelve_records_each_reach_the_minimum() -> None:
    labels = np.arange(12_000) % 10
    parts = partition(labels, partitioner="dirichlet", num_partitions=1_000, seed=0)
    _assert_divides(parts, 12_000)
    assert min(len(part) for part in parts) == 10
    counts = label_counts(labels, parts, 10)
    assert (counts > 0).sum(axis=1).mean() < 6.3  # 7.2 classes if the 12 were drawn evenly


def test_records_move_from_the_largest_client_only_as_needed() -> None:
    parts = [np.arange(6), np.arange(6, 7), np.arange(7, 7), np.arange(7, 10)]
    moved = top_up(parts, 2, np.random.default_rng(0))
    assert [len(part) for part in moved] == [3, 2, 2, 3]
    assert set(moved[1]) > {6}
    assert set(moved[0]) < set(range(6))
    assert moved[3].tolist() == [7, 8, 9]
    _assert_divides(moved, 10)


def test_no_record_moves_where_all_have_enough() -> None:
    parts = [np.array([0, 3]), np.array([1, 2])]
    assert [part.tolist() for part in top_up(parts, 2, np.random.default_rng(0))] == [[0, 3], [1, 2]]


def test_pathological_clients_hold_the_asked_number_of_classes() -> None:
    labels = np.arange(2_000) % 10
    parts = partition(labels, partitioner="pathological", num_partitions=20, seed=0, classes_per_client=3)
    counts = label_counts(labels, parts, 10)
    assert ((counts > 0).sum(axis=1) == 3).all()
    assert ((counts > 0).sum(axis=0) == 6).all()  # 20 clients of 3 over 10 classes
    _assert_divides(parts, 2_000)


def test_pathological_uses_every_class_even_among_few_clients() -> None:
    labels = np.arange(1_000) % 10
    for seed in range(20):
        parts = partition(labels, partitioner="pathological", num_partitions=5, seed=seed)
        _assert_divides(parts, 1_000)
        assert ((label_counts(labels, parts, 10) > 0).sum(axis=1) == 2).all()


def test_quantity_skew_varies_sizes_and_not_labels() -> None:
    labels = np.arange(20_000) % 2
    parts = partition(labels, partitioner="quantity-skew", num_partitions=8, seed=0, min_partition_size=100)
    sizes = np.array([len(part) for part in parts])
    assert sizes.max() > 5 * sizes.min()
    assert np.abs(label_counts(labels, parts, 2)[:, 0] / sizes - 0.5).max() < 0.15
    _assert_divides(parts, 20_000)


def test_counts_by_client_and_class() -> None:
    labels = np.array([0, 1, 1, 2, 0])
    counts = label_counts(labels, [np.array([0, 1, 2]), np.array([3, 4])], 4)
    assert counts.tolist() == [[1, 2, 0, 0], [1, 0, 1, 0]]


@pytest.mark.parametrize("name", PARTITIONERS)
def test_the_seed_decides_and_indices_ascend(name: str) -> None:
    labels = _labels(1_000)
    first, again, other = (
        partition(labels, partitioner=name, num_partitions=10, seed=seed) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(np.array_equal(one, two) for one, two in zip(first, other, strict=True))
    assert all((np.diff(part) > 0).all() for part in first)


@pytest.mark.parametrize("name", ["iid", "dirichlet", "quantity-skew"])
def test_a_client_with_too_few_records_is_named_with_ways_out(name: str) -> None:
    with pytest.raises(DataError) as caught:
        partition(np.arange(12) % 2, partitioner=name, num_partitions=3, seed=0, min_partition_size=5)
    assert re.fullmatch(
        r"client [012] would hold [0-4] records, fewer than min-partition-size 5: choose "
        r"num-clients at most 2 or min-partition-size at most 4 or more images than 12",
        str(caught.value),
    )


def test_a_pathological_client_with_too_few_records_is_named() -> None:
    labels = np.array([0] * 100 + [1] * 3)
    with pytest.raises(DataError, match=r"^client \d would hold \d records, .* classes-per-client above 1"):
        partition(labels, partitioner="pathological", num_partitions=4, seed=0, classes_per_client=1)


def test_no_records_at_all() -> None:
    with pytest.raises(DataError, match="no training records"):
        partition(_labels(0), partitioner="dirichlet", num_partitions=2, seed=0)


def test_an_unknown_partitioner_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown partitioner 'dirichelt': did you mean 'dirichlet'"):
        partition(_labels(100), partitioner="dirichelt", num_partitions=2, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_partitions": 0}, "num-clients 0 is out of range: choose 1 or more"),
        ({"min_partition_size": 0}, "min-partition-size 0 is out of range: choose 1 or more"),
        ({"alpha": 0.0}, "alpha 0.0 is out of range: choose 0.001 to 1000000"),
        ({"alpha": float("nan")}, "alpha nan is out of range"),
        (
            {"partitioner": "pathological", "classes_per_client": 11},
            "classes-per-client 11 .* choose 1 to 10",
        ),
        ({"partitioner": "pathological", "classes_per_client": 0}, "classes-per-client 0 .* choose 1 to 10"),
        (
            {"partitioner": "pathological", "num_partitions": 3},
            "3 clients of 2 classes each cannot hold all 10 classes: raise classes-per-client to 4",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    asked: dict[str, object] = {"partitioner": "dirichlet", "num_partitions": 5, "seed": 0, **settings}
    with pytest.raises(ConfigError, match=message):
        partition(np.arange(1_000) % 10, **asked)  # type: ignore[arg-type]
