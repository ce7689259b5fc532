"""What lies at a path: a run, ledgers, one ledger, or a server's log."""

from __future__ import annotations

from pathlib import Path

from common.audit.ledger_files import find_ledgers
from common.audit.records import (
    RunRecords,
    read_folder,
    read_home,
    read_log_alone,
    read_one_ledger,
    read_run,
)
from common.audit.server_records import is_log
from common.errors import CheckpointError

_OF_A_RUN = ("config.toml", "rounds.jsonl", "model.safetensors")
"""Files of which any makes a folder a run's, so that one which lost its settings is not taken for a home."""


def read_records(path: Path) -> RunRecords:
    """Read what lies at a path; a damaged ledger or log is reported, not raised.

    Raises:
        CheckpointError: when it is nothing that can be audited, or one of its files is not what a run writes.
    """
    if path.is_file():
        return read_one_ledger(path)
    if any((path / name).exists() for name in _OF_A_RUN):
        return read_run(path)
    if (path / "ledgers").is_dir():
        return read_home(path)
    if is_log(path):
        return read_log_alone(path)
    if find_ledgers(path):
        return read_folder(path, root=path)
    raise CheckpointError(
        f"{path} is not a run folder, a ledger, a folder of ledgers or a server's log: give one of these"
    )
