from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data import PARTITIONERS, label_counts, partition
from common.errors import ConfigError, DataError

_CASES = {
    "classes": st.integers(1, 12),
    "records": st.integers(1, 600),
    "clients": st.integers(1, 40),
    "partitioner": st.sampled_from(PARTITIONERS),
    "alpha": st.sampled_from([1e-3, 0.05, 0.5, 5.0, 1e6]),
    "each": st.integers(1, 12),
    "minimum": st.integers(1, 20),
    "seed": st.integers(0, 2**32),
}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(**_CASES)
def test_partitions_are_disjoint_covering_large_enough_and_reproducible(
    classes: int,
    records: int,
    clients: int,
    partitioner: str,
    alpha: float,
    each: int,
    minimum: int,
    seed: int,
) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, records)

    def divide() -> list[np.ndarray]:
        return partition(
            labels,
            partitioner=partitioner,
            num_partitions=clients,
            seed=seed,
            alpha=alpha,
            classes_per_client=each,
            min_partition_size=minimum,
        )

    if partitioner != "pathological" and records < clients * minimum:
        with pytest.raises(DataError):
            divide()
        return
    try:
        parts = divide()
    except (DataError, ConfigError):
        if partitioner == "pathological":  # it alone may not move records between clients
            return
        raise
    assert len(parts) == clients
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(records))
    assert min(len(part) for part in parts) >= minimum
    assert all(part.dtype == np.int64 for part in parts)
    assert all(np.array_equal(one, two) for one, two in zip(parts, divide(), strict=True))
    counts = label_counts(labels, parts, classes)
    assert counts.sum(axis=0).tolist() == np.bincount(labels, minlength=classes).tolist()
    if partitioner == "pathological":
        assert (counts > 0).sum(axis=1).max() <= each
