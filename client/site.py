"""One client's possessions: its records, its ledger and its policy, opened when first needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context

from client.policy import ClientPolicy
from common.config import RunConfig, resolve
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
    planned = config.federation.num_clients
    nodes = int(context.node_config.get("num-partitions", planned))
    if nodes != planned:
        raise ConfigError(
            f"this federation has {nodes} nodes, but federation.num-clients = {planned}: "
            f"set federation.num-clients={nodes}"
        )
    records = split_of(config).train.subset(shares_of(config)[partition_id])
    delta = _delta(config, len(records))
    return Site(
        partition_id=partition_id,
        config=config,
        records=records,
        ledger=_open_ledger(folder, partition_id, config, len(records), delta),
        policy=ClientPolicy.from_settings(config.privacy, delta=delta),
    )


def _partition_id(node_config: Mapping[str, object]) -> int:
    value = node_config.get("partition-id")
    if not isinstance(value, int):
        raise ConfigError(
            'the node has no number: start it with --node-config "partition-id=0 num-partitions=10"'
        )
    return value


def _delta(config: RunConfig, num_examples: int) -> float:
    delta = default_delta(num_examples) if config.privacy.delta == "auto" else config.privacy.delta
    check_delta(delta, num_examples)
    return delta


def _open_ledger(folder: RunFolder, partition_id: int, config: RunConfig, n: int, delta: float) -> Ledger:
    path, key_path = folder.ledger(partition_id), folder.key(partition_id)
    if path.exists():
        return Ledger.open(path, SigningKey.load(key_path))
    if key_path.exists():
        key = SigningKey.load(key_path)
    else:
        key = SigningKey.generate()
        key.save(key_path)
    budget = config.privacy.epsilon if config.privacy.enabled else None
    return Ledger.create(path, key, Genesis.new(key, delta=delta, budget_epsilon=budget, num_examples=n))
