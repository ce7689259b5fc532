"""Whom the final model serves worst: by class, and by what a simulated client holds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from common.audit.evaluation import Evaluation, Partitions


@dataclass(frozen=True, kw_only=True)
class ClassExtreme:
    """A class and the share of its test images that the model gets right (0 to 1)."""

    name: str
    recall: float


@dataclass(frozen=True, kw_only=True)
class ClientUtility:
    """What a client can expect of the model.

    Args:
        accuracy: on the public test images, weighed so that classes are as frequent as at this client.
    """

    partition_id: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """How unevenly the final model serves classes and clients.

    Args:
        worst_class: the class of which it gets the least right.
        best_class: the class of which it gets the most right.
        clients: by partition; empty in a real federation, where label counts never leave a client.
        worst_client: the client that can expect least, None where `clients` is empty; so are the following.
        mean: of the clients' accuracies, each client counting alike.
        deviation: their standard deviation over these clients.
        worst_decile: mean of the lowest tenth of them, of one client at least.
    """

    worst_class: ClassExtreme
    best_class: ClassExtreme
    clients: tuple[ClientUtility, ...]
    worst_client: ClientUtility | None
    mean: float | None
    deviation: float | None
    worst_decile: float | None


def fairness_of(evaluation: Evaluation | None, partitions: Partitions | None) -> Fairness | None:
    """Return how evenly a model serves, None where no class was tested.

    Args:
        evaluation: of the final model on public test images.
        partitions: label counts of each client, which only a simulator knows.
    """
    recalls = _tested(evaluation) if evaluation else {}
    if not recalls:
        return None
    clients = _clients(recalls, partitions) if partitions else ()
    accuracies = sorted(client.accuracy for client in clients)
    worst, best = min(recalls, key=recalls.__getitem__), max(recalls, key=recalls.__getitem__)
    return Fairness(
        worst_class=ClassExtreme(name=worst, recall=recalls[worst]),
        best_class=ClassExtreme(name=best, recall=recalls[best]),
        clients=clients,
        worst_client=min(clients, key=lambda client: client.accuracy, default=None),
        mean=statistics.fmean(accuracies) if accuracies else None,
        deviation=statistics.pstdev(accuracies) if accuracies else None,
        worst_decile=_lowest_tenth(accuracies),
    )


def _tested(evaluation: Evaluation) -> dict[str, float]:
    """Return the recall of every class that has test images: of others nothing is known."""
    return {
        result.name: result.recall
        for result in evaluation.per_class
        if result.support > 0 and 0 <= result.recall <= 1
    }


def _clients(recalls: dict[str, float], partitions: Partitions) -> tuple[ClientUtility, ...]:
    found = [
        (number, _weighed(recalls, dict(zip(partitions.classes, counts, strict=False))))
        for number, counts in enumerate(partitions.counts)
    ]
    return tuple(
        ClientUtility(partition_id=number, accuracy=accuracy)
        for number, accuracy in found
        if accuracy is not None
    )


def _weighed(recalls: dict[str, float], counts: dict[str, int]) -> float | None:
    """Return the mean recall, weighed by a client's counts; None where it holds no tested class."""
    known = {name: max(counts.get(name, 0), 0) for name in recalls}
    total = sum(known.values())
    return sum(known[name] / total * recalls[name] for name in recalls) if total else None


def _lowest_tenth(ascending: Sequence[float]) -> float | None:
    return statistics.fmean(ascending[: math.ceil(len(ascending) / 10)]) if ascending else None
