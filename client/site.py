"""One client's possessions: its records, its ledger and its policy, opened when first needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from flwr.app import Context

from client.policy import ClientPolicy
from common.config import PrivacySettings, RunConfig, resolve
from common.data import ImageData
from common.data.shares import shares_of, split_of
from common.errors import ConfigError
from common.ledger import Genesis, Ledger, SigningKey
from common.privacy.budget import check_delta, default_delta
from common.run_folder import RunFolder, run_root

_opening = threading.Lock()
_sites: dict[tuple[Path, int], Site] = {}


@dataclass(frozen=True, kw_only=True)
class Site:
    """What one client holds.

    Privacy: `records` never leave; the ledger and n = len(records) are public.
    """

    partition_id: int
    config: RunConfig
    records: ImageData
    ledger: Ledger
    policy: ClientPolicy


def open_site(context: Context) -> Site:
    """Return the site that a node's context names, opening data and ledger on first use.

    Under Flower's simulation runtime any of several processes may answer any message of a client, one at
    a time; so each message begins with the ledger as it is on disk.

    Raises:
        ConfigError: when the node's number does not fit the settings.
        DataError: when its records cannot be read.
        LedgerError: when its ledger cannot be used.
    """
    folder = RunFolder(run_root(str(context.run_config.get("runtime.out", "auto")), context.run_id))
    partition_id = _partition_id(context.node_config)
    with _opening:
        site = _sites.get((folder.root, partition_id))
        if site is None:
            site = _sites[folder.root, partition_id] = _open(context, folder, partition_id)
    site.ledger.catch_up()
    return site


def close_sites(root: Path) -> None:
    """Forget every open site below a run folder, so that the next use reads its files again."""
    with _opening:
        for key in [key for key in _sites if key[0] == root]:
            del _sites[key]


def _open(context: Context, folder: RunFolder, partition_id: int) -> Site:
    config = resolve(context.run_config)
    _check_place(partition_id, context.node_config, config.federation.num_clients)
    records = split_of(config).train.subset(shares_of(config)[partition_id])
    terms = _terms(config.privacy, len(records))
    return Site(
        partition_id=partition_id,
        config=config,
        records=records,
        ledger=_open_ledger(folder, partition_id, terms),
        policy=ClientPolicy.from_settings(config.privacy, delta=terms.delta),
    )


def _check_place(partition_id: int, node_config: Mapping[str, object], planned: int) -> None:
    nodes = node_config.get("num-partitions", planned)
    if nodes != planned:
        raise ConfigError(
            f"this federation has {nodes} nodes, but federation.num-clients = {planned}: "
            f"set federation.num-clients={nodes}"
        )
    if not 0 <= partition_id < planned:
        raise ConfigError(
            f"the node was started with partition-id={partition_id}, but federation.num-clients = {planned}: "
            f"give each node another number from 0 to {planned - 1}"
        )


def _partition_id(node_config: Mapping[str, object]) -> int:
    value = node_config.get("partition-id")
    if type(value) is not int:
        raise ConfigError(
            'the node has no number: start it with --node-config "partition-id=0 num-partitions=10"'
        )
    return value


@dataclass(frozen=True, kw_only=True)
class _Terms:
    """What a ledger fixes for its data set's life."""

    num_examples: int
    delta: float
    budget_epsilon: float | None

    def __str__(self) -> str:
        what = "unprotected training" if self.budget_epsilon is None else f"epsilon {self.budget_epsilon:g}"
        return f"{what} at delta {self.delta:.3g} on {self.num_examples} examples"


def _terms(privacy: PrivacySettings, num_examples: int) -> _Terms:
    delta = default_delta(num_examples) if privacy.delta == "auto" else privacy.delta
    check_delta(delta, num_examples)
    budget = privacy.epsilon if privacy.enabled else None
    return _Terms(num_examples=num_examples, delta=delta, budget_epsilon=budget)


def _open_ledger(folder: RunFolder, partition_id: int, terms: _Terms) -> Ledger:
    path, key_path = folder.ledger(partition_id), folder.key(partition_id)
    if path.exists():
        ledger = Ledger.open(path, SigningKey.load(key_path))
        _refuse_other_terms(path, ledger.view.genesis, terms)
        return ledger
    if key_path.exists():
        key = SigningKey.load(key_path)
    else:
        key = SigningKey.generate()
        key.save(key_path)
    return Ledger.create(path, key, Genesis.new(key, **asdict(terms)))


def _refuse_other_terms(path: Path, genesis: Genesis, terms: _Terms) -> None:
    begun = _Terms(
        num_examples=genesis.num_examples, delta=genesis.delta, budget_epsilon=genesis.budget_epsilon
    )
    if begun != terms:
        raise ConfigError(
            f"{path} was begun for {begun}, but the settings are for {terms}: "
            "a ledger's terms are for life, put the settings back or choose another runtime.out"
        )
