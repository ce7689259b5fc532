"""A whole federation by one command: the ServerApp and the ClientApp as they are, on an in-process Grid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from flwr.app import Context, RecordDict, UserConfig
from flwr.clientapp.typing import ClientAppCallable

from client.app import app as client_app
from client.optimizer import load_what_rules_need
from client.site import close_sites
from common.audit.auditor import audit
from common.audit.report import AuditReport
from common.config import RunConfig, Settings, to_toml
from common.data import label_counts
from common.data.shares import preparation_of, shares_of, split_of
from common.device import resolve_device
from common.errors import ConfigError, LedgerError
from common.ledger import Ledger
from common.ledger.keys import passphrase_from_environment
from common.ledger.rotation import current_key
from common.models import build_model, pinned, spec_of
from common.new_run import new_root, settings_to_resume, with_absolute_paths
from common.privacy.budget import check_delta
from common.run_folder import LedgerHome, RunFolder, write_atomically
from server.app import app as server_app
from server.checkpoint import load_state
from server.observer import OBSERVER, RunObserver
from server.state import RunState
from simulations.grid import SERVER_NODE_ID, InProcessGrid
from simulations.processes import CopiedApp, can_copy

_FIRST_CLIENT_NODE_ID = SERVER_NODE_ID + 1


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A simulation that is over: its files, its last state (and why it ended), its audit."""

    folder: RunFolder
    state: RunState
    report: AuditReport


def simulate(config: RunConfig, *, observer: RunObserver | None = None) -> Simulation:
    """Train a shared model over simulated clients, then audit what was spent.

    Args:
        config: the run's settings; `runtime.out` must not hold another run.
        observer: told what happens, may ask the run to stop; by default each round is logged.

    Returns:
        The run, with the report that was written into its folder.

    Raises:
        ConfigError: when settings contradict each other, the images or the machine.
        DataError: when images cannot be read, or a client would hold too few.
        RoundFailed: when no client could join.

    Privacy: every client charges its own ledger in the folder. The audit's epsilon composes all of it.
    """
    root = new_root(config)
    config = pinned(with_absolute_paths(config, root))
    _check(config)
    folder = RunFolder(root)
    write_atomically(folder.config, to_toml(config).encode())
    return _run(config, folder, observer or RunObserver())


def resume(
    root: Path, *, observer: RunObserver | None = None, settings: Settings | None = None
) -> Simulation:
    """Continue a stopped simulation from its last checkpoint.

    Args:
        root: the run's folder.
        observer: as for `simulate`.
        settings: `runtime.` settings to change, such as `runtime.workers`; they change no result.

    Raises:
        CheckpointError: when the folder holds no run.
        LedgerError: when a client's ledger or key is lost or damaged.
        ConfigError: when a changed setting is out of range.
    """
    config = settings_to_resume(root, settings)
    folder = RunFolder(Path(config.runtime.out))
    _check(config)
    _require_ledgers(folder, folder.home(config.runtime.ledgers))
    return _run(config, folder, observer or RunObserver())


def _run(config: RunConfig, folder: RunFolder, observer: RunObserver) -> Simulation:
    _write_partitions(config, folder)
    torch.set_num_threads(1)  # parallel over clients; and the same sums whatever the number of workers
    token = OBSERVER.set(observer)
    try:
        with _grid(config) as grid:
            server_app(grid, _context(config, SERVER_NODE_ID, {}))
    finally:
        OBSERVER.reset(token)
        close_sites(folder.root)
    return Simulation(folder=folder, state=load_state(folder), report=audit(folder.root))


@contextmanager
def _grid(config: RunConfig) -> Iterator[InProcessGrid]:
    clients = config.federation.num_clients
    workers = min(config.runtime.num_workers, clients)

    def context(node_id: int) -> Context:
        partition_id = node_id - _FIRST_CLIENT_NODE_ID
        return _context(config, node_id, {"partition-id": partition_id, "num-partitions": clients})

    node_ids = range(_FIRST_CLIENT_NODE_ID, _FIRST_CLIENT_NODE_ID + clients)
    with ExitStack() as stack:
        app: ClientAppCallable = client_app
        if _in_processes(config, workers):
            load_what_rules_need()
            app = stack.enter_context(CopiedApp(client_app, copies=workers))
        yield stack.enter_context(
            InProcessGrid(app, node_ids=node_ids, make_context=context, workers=workers)
        )


def _in_processes(config: RunConfig, workers: int) -> bool:
    """Return whether clients that train at a time are processes, or threads of this one."""
    kind = config.runtime.worker_kind
    possible = can_copy(resolve_device(config.runtime.device).type)
    if kind == "auto":  # a step on features is one product: few calls, and little Python to wait for
        return possible and workers > 1 and spec_of(config.model).front is None
    if kind == "process" and not possible:
        raise ConfigError(
            'runtime.worker-kind = "process" is for Linux and the device cpu: set it to "thread" or "auto"'
        )
    return kind == "process"


def _context(config: RunConfig, node_id: int, node_config: UserConfig) -> Context:
    return Context(
        run_id=1, node_id=node_id, node_config=node_config, state=RecordDict(), run_config=config.flat()
    )


def _check(config: RunConfig) -> None:
    """Find what every client would refuse before anything is written or started."""
    preparation_of(config)
    split = split_of(config)
    build_model(config.model.name, num_classes=len(split.train.classes))
    largest = max(len(share) for share in shares_of(config))
    if config.privacy.delta != "auto":
        check_delta(config.privacy.delta, largest)


def _require_ledgers(folder: RunFolder, home: LedgerHome) -> None:
    """Stop before a client begins a new ledger, or is left out, because its files were lost."""
    if not (folder.checkpoint / "state.json").exists():
        return
    for partition_id, known in load_state(folder).known.items():
        path = home.ledger(partition_id)
        if not path.exists():
            raise LedgerError(f"{path} is missing: put it back, it alone says what this client has spent")
        ledger = Ledger.open(path, current_key(path, home.key(partition_id), passphrase_from_environment()))
        known.refuse_less(partition_id, ledger.view)


def _write_partitions(config: RunConfig, folder: RunFolder) -> None:
    split = split_of(config)
    counts = label_counts(split.train.labels.numpy(), shares_of(config), len(split.train.classes))
    record = {
        "dataset": split.description,
        "classes": list(split.train.classes),
        "counts": counts.tolist(),
    }
    write_atomically(folder.partitions, json.dumps(record).encode())
