"""What all runs of a sweep cost together, from the ledgers that they left."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from numpy.typing import NDArray

from common.config import RunConfig
from common.ledger.chain import LedgerView, read_ledger
from common.privacy.accounting import largest_epsilon
from common.privacy.mechanisms import Mechanism, merge
from common.privacy.noise import accountable
from common.privacy.renyi import ORDERS, renyi_curve
from common.run_folder import RunFolder

MOST_CHOICES = 256

History = tuple[Mechanism, ...]
Spent = tuple[History, float]
"""Every mechanism charged to one client's data in some runs, and the delta of its ledgers."""


@dataclass(frozen=True, kw_only=True)
class Composed:
    """What runs cost together.

    Args:
        epsilon: infinite where one of them was without protection.
        delta: largest of all ledgers.
        runs: that were composed, failed ones included as far as they charged.
    """

    epsilon: float
    delta: float
    runs: int


def composed(runs: Iterable[tuple[RunConfig, RunFolder]]) -> Composed:
    """Compose every charge of every run on the same records.

    Runs that spread the records over clients alike are composed client by client. Under another seed, or
    with other data settings, a record may lie with any client, so the costliest choice of one client in each
    such group of runs counts.

    Raises:
        LedgerError: when a ledger cannot be read.

    Privacy: one record, zero-out adjacency, against who sees all runs' messages and models. Holds where
        settings were fixed in advance, or all runs that were chosen among cost the same in every round.
    """
    groups: dict[tuple[object, ...], dict[int, list[LedgerView]]] = defaultdict(lambda: defaultdict(list))
    number = 0
    for config, folder in runs:
        ledgers = dict(_ledgers(config, folder))
        number += bool(ledgers)
        for client, ledger in ledgers.items():
            groups[_spread(config)][client].append(ledger)
    spent = [[_spent(ledgers) for ledgers in clients.values()] for clients in groups.values()]
    deltas = [delta for group in spent for _, delta in group]
    return Composed(epsilon=epsilon_of_groups(spent), delta=max(deltas, default=0.0), runs=number)


def epsilon_of_groups(groups: Sequence[Iterable[Spent]]) -> float:
    """Return the largest epsilon of a record that one client of each group holds.

    Every choice is composed by the accountant of the claim. Where there are very many, Renyi divergences are
    added up instead, at each order those of the costliest client of each group: some per cent too much.
    """
    distinct = [tuple(dict.fromkeys(group)) for group in groups]
    if not distinct:
        return 0.0
    if math.prod(len(group) for group in distinct) > MOST_CHOICES:
        return _renyi_of_groups(distinct)
    choices = itertools.product(*distinct)
    return largest_epsilon(
        (tuple(itertools.chain.from_iterable(history for history, _ in choice)), min(d for _, d in choice))
        for choice in choices
    )


def _renyi_of_groups(groups: Sequence[Sequence[Spent]]) -> float:
    total = sum(np.max([_curve(history) for history, _ in group], axis=0) for group in groups)
    delta = min(delta for group in groups for _, delta in group)
    return float(compute_epsilon(ORDERS, total, delta)[0])


def _curve(history: History) -> NDArray[np.float64]:
    protected = accountable(history)
    if protected is None:
        return np.full(len(ORDERS), math.inf)
    curves = [one.num_steps * renyi_curve(replace(one, num_steps=1)) for one in protected]
    return np.asarray(np.sum(curves, axis=0) if curves else np.zeros(len(ORDERS)))


def _spread(config: RunConfig) -> tuple[object, ...]:
    """Return what decides which client holds which record."""
    data = config.data.model_copy(update={"augmentation": "none"})
    return data.model_dump_json(), config.federation.num_clients, config.runtime.seed


def _spent(ledgers: Sequence[LedgerView]) -> Spent:
    history = merge(mechanism for ledger in ledgers for mechanism in ledger.mechanisms())
    return history, min(ledger.genesis.delta for ledger in ledgers)


def _ledgers(config: RunConfig, folder: RunFolder) -> Iterator[tuple[int, LedgerView]]:
    for client in range(config.federation.num_clients):
        if folder.ledger(client).exists():
            yield client, read_ledger(folder.ledger(client))
