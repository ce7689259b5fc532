"""Divide the training records over the clients: disjoint, covering, the same for the same seed.

Written here rather than taken from `flwr_datasets.partitioner`. Its Dirichlet draw is repeated exactly, and a
test holds one against the other, but it meets a minimum size by drawing all again, and gives up after ten
tries: 1,000 clients of 12,000 records never get 10 each. Its pathological partitioner leaves out the classes
that no client happened to draw. And every client process would pay for it: six seconds of imports and table
conversion at 1,000 clients of 50,000 records, where these functions take a twentieth of one.

The least size is met by moving records: while a client has fewer than `min_partition_size`, it is given a
random record of the client that has the most. Few records move unless the clients are small; where nearly
all are needed (1,000 clients of 12 with a minimum of 10) sizes even out and only the label skew is left.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, DataError
from common.names import require_known
from common.streams import numpy_stream

Indices = NDArray[np.int64]

_MIN_ALPHA, _MAX_ALPHA = 1e-3, 1e6


@dataclass(frozen=True, kw_only=True)
class _Division:
    """What a division is asked for."""

    labels: Indices
    num_partitions: int
    alpha: float
    classes_per_client: int
    min_partition_size: int


def partition(
    labels: Indices,
    *,
    partitioner: str,
    num_partitions: int,
    seed: int,
    alpha: float = 0.5,
    classes_per_client: int = 2,
    min_partition_size: int = 10,
) -> list[Indices]:
    """Divide records over clients.

    Args:
        labels: int64 [n], the records' classes.
        partitioner: `iid`; `dirichlet` (each class divided in Dirichlet(alpha) shares: label skew, Yurochkin
            et al. 2019); `pathological` (at most `classes_per_client` classes each, McMahan et al. 2017);
            `quantity-skew` (sizes in Dirichlet(alpha) shares, labels alike, Li et al. 2022).
        num_partitions: clients, at least 1.
        seed: of the run; equal seeds give equal partitions.
        alpha: 0.001 to 1000000, the smaller the more unequal.
        classes_per_client: of the pathological partitioner, 1 to the number of classes.
        min_partition_size: records that each client must have, at least 1.

    Returns:
        For each client its records' positions in `labels`, int64, ascending. Together they are all n.

    Raises:
        ConfigError: a setting is out of range.
        DataError: a client is left with fewer records than `min_partition_size`.
    """
    require_known("partitioner", partitioner, PARTITIONERS)
    asked = _Division(
        labels=labels,
        num_partitions=num_partitions,
        alpha=alpha,
        classes_per_client=classes_per_client,
        min_partition_size=min_partition_size,
    )
    _require_ranges(asked)
    if len(labels) == 0:
        raise DataError("there are no training records to divide: choose a data set that has some")
    parts = _PARTITIONERS[partitioner](asked, numpy_stream(seed, f"partition/{partitioner}"))
    _require_sizes(asked, parts, partitioner)
    return [np.sort(part) for part in parts]


def label_counts(labels: Indices, parts: list[Indices], num_classes: int) -> Indices:
    """Count each client's records by class: int64 [clients, classes]."""
    return np.stack([np.bincount(labels[part], minlength=num_classes) for part in parts]).astype(np.int64)


def dirichlet_shares(
    labels: Indices, num_partitions: int, alpha: float, rng: np.random.Generator
) -> list[Indices]:
    """Divide each class in Dirichlet(alpha) shares, whatever sizes come of it."""
    parts: list[list[Indices]] = [[] for _ in range(num_partitions)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        for part, share in zip(parts, _cut(members, num_partitions, alpha, rng), strict=True):
            part.append(share)
    return [np.concatenate(part) for part in parts]


def _cut(members: Indices, num_partitions: int, alpha: float, rng: np.random.Generator) -> list[Indices]:
    shares = rng.dirichlet(np.full(num_partitions, alpha))
    ends = (np.cumsum(shares) * len(members)).astype(np.int64)[:-1]
    return np.split(members, ends)


def _iid(asked: _Division, rng: np.random.Generator) -> list[Indices]:
    return np.array_split(rng.permutation(len(asked.labels)), asked.num_partitions)


def _dirichlet(asked: _Division, rng: np.random.Generator) -> list[Indices]:
    parts = dirichlet_shares(asked.labels, asked.num_partitions, asked.alpha, rng)
    return top_up(parts, asked.min_partition_size, rng)


def _quantity_skew(asked: _Division, rng: np.random.Generator) -> list[Indices]:
    shuffled = rng.permutation(len(asked.labels))
    return top_up(_cut(shuffled, asked.num_partitions, asked.alpha, rng), asked.min_partition_size, rng)


def _pathological(asked: _Division, rng: np.random.Generator) -> list[Indices]:
    present = np.unique(asked.labels)
    hands = _deal(present, asked.num_partitions, asked.classes_per_client, rng)
    parts: list[list[Indices]] = [[] for _ in hands]
    for label in present:
        holders = [client for client, hand in enumerate(hands) if label in hand]
        members = rng.permutation(np.flatnonzero(asked.labels == label))
        for client, share in zip(holders, np.array_split(members, len(holders)), strict=True):
            parts[client].append(share)
    return [np.concatenate(part) for part in parts]


def _deal(classes: Indices, clients: int, each: int, rng: np.random.Generator) -> list[list[int]]:
    """Deal `each` different classes to every client from shuffled packs, using all classes alike."""
    if not 1 <= each <= len(classes):
        raise ConfigError(f"classes-per-client {each} is out of range: choose 1 to {len(classes)}")
    if clients * each < len(classes):
        raise ConfigError(
            f"{clients} clients of {each} classes each cannot hold all {len(classes)} classes: "
            f"raise classes-per-client to {math.ceil(len(classes) / clients)}"
        )
    hands: list[list[int]] = []
    pack: list[int] = []
    for _ in range(clients):
        hand, pack = pack[:each], pack[each:]
        if len(hand) < each:
            fresh = [int(label) for label in rng.permutation(classes)]
            pack = [label for label in fresh if label not in hand] + [
                label for label in fresh if label in hand
            ]
            missing = each - len(hand)
            hand, pack = hand + pack[:missing], pack[missing:]
        hands.append(hand)
    return hands


def top_up(parts: list[Indices], minimum: int, rng: np.random.Generator) -> list[Indices]:
    """Move random records from the largest client to those below the minimum, as long as it has more."""
    records = [part.tolist() for part in parts]
    largest = [(-len(part), client) for client, part in enumerate(records)]
    heapq.heapify(largest)
    for receiver in [part for part in records if len(part) < minimum]:
        while len(receiver) < minimum and -largest[0][0] > minimum:
            giver = records[largest[0][1]]
            receiver.append(giver.pop(int(rng.integers(len(giver)))))
            heapq.heapreplace(largest, (-len(giver), largest[0][1]))
    return [np.array(part, dtype=np.int64) for part in records]


def _require_ranges(asked: _Division) -> None:
    if asked.num_partitions < 1:
        raise ConfigError(f"num-clients {asked.num_partitions} is out of range: choose 1 or more")
    if asked.min_partition_size < 1:
        raise ConfigError(f"min-partition-size {asked.min_partition_size} is out of range: choose 1 or more")
    if not _MIN_ALPHA <= asked.alpha <= _MAX_ALPHA:
        raise ConfigError(f"alpha {asked.alpha} is out of range: choose {_MIN_ALPHA:g} to {_MAX_ALPHA:.0f}")


def _require_sizes(asked: _Division, parts: list[Indices], partitioner: str) -> None:
    sizes = [len(part) for part in parts]
    least = min(sizes)
    if least < asked.min_partition_size:
        raise DataError(
            f"client {sizes.index(least)} would hold {least} records, fewer than min-partition-size "
            f"{asked.min_partition_size}: choose {_ways_out(asked, least, partitioner)}"
        )


def _ways_out(asked: _Division, least: int, partitioner: str) -> str:
    records, clients, minimum = len(asked.labels), asked.num_partitions, asked.min_partition_size
    if partitioner == "pathological":
        ways = [f"fewer than {clients} clients", f"classes-per-client above {asked.classes_per_client}"]
    else:
        ways = [f"num-clients at most {records // minimum}"] if records >= minimum else []
        least = records // clients
    ways += [f"min-partition-size at most {least}"] if least else []
    return " or ".join([*ways, f"more images than {records}"])


_PARTITIONERS: dict[str, Callable[[_Division, np.random.Generator], list[Indices]]] = {
    "iid": _iid,
    "dirichlet": _dirichlet,
    "pathological": _pathological,
    "quantity-skew": _quantity_skew,
}

PARTITIONERS: tuple[str, ...] = tuple(_PARTITIONERS)
