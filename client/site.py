"""One client's possessions: its records, its ledger and its policy, opened when first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context

from client.kept import KeptUpdates
from client.ledgers import open_ledger
from client.policy import ClientPolicy
from common.config import RunConfig, resolve
from common.data import Records
from common.data.shares import preparation_of, shares_of, split_of
from common.errors import ConfigError
from common.ledger import Ledger
from common.run_folder import RunFolder, run_root

_opening = threading.Lock()
_sites: dict[tuple[Path, int], Site] = {}


@dataclass(frozen=True, kw_only=True)
class Site:
    """What one client holds.

    Args:
        records: as the model takes them: images, to which the ledger commits, or their features.
        kept: finished updates that can be sent again, or None where a run's own files are enough.

    Privacy: `records` never leave; the ledger and n = len(records) are public.
    """

    partition_id: int
    config: RunConfig
    records: Records
    ledger: Ledger
    policy: ClientPolicy
    kept: KeptUpdates | None = None


OWN_SITE: ContextVar[Callable[[Context], Site]] = ContextVar("own_site")
"""How a real client opens its site, from facts of its own; unset, the run's settings say what a client is."""


def open_site(context: Context) -> Site:
    """Return the site that a node's context names, opening data and ledger on first use.

    Under Flower's simulation runtime any of several processes may answer any message of a client, one at
    a time; so each message begins with the ledger as it is on disk.

    Raises:
        ConfigError: when the node's number does not fit the settings.
        DataError: when its records cannot be read.
        LedgerError: when its ledger cannot be used.
    """
    if (own := OWN_SITE.get(None)) is not None:
        return own(context)
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
    preparation = preparation_of(config)
    images = split_of(config).train.share(shares_of(config)[partition_id])
    ledger = open_ledger(folder.home(config.runtime.ledgers), partition_id, config, images)
    return Site(
        partition_id=partition_id,
        config=config,
        records=preparation.records(images),
        ledger=ledger,
        policy=ClientPolicy.from_settings(config.privacy, delta=ledger.view.genesis.delta),
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
