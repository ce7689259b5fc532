"""Where a run keeps its files: the one place that knows their names."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import CheckpointError, ConfigError, FolderInUse

_LOCK_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class LedgerHome:
    """Where ledgers, their keys and the server's log lie, below `root`: of one run, or of many."""

    root: Path

    @property
    def server(self) -> Path:
        """The server's log of everything that it confirmed."""
        return self.root / "server"

    @property
    def server_key(self) -> Path:
        """The key that signs the server's log and receipts."""
        return self.root / "keys" / "server.key"

    def ledger(self, partition_id: int) -> Path:
        """Return the ledger of one client."""
        return self.root / "ledgers" / f"client-{partition_id}.jsonl"

    def key(self, partition_id: int) -> Path:
        """Return the signing key of one client, kept apart from its ledger."""
        return self.root / "keys" / f"client-{partition_id}.key"

    def salt(self, partition_id: int) -> Path:
        """Return the secret under which one client commits to its data set."""
        return self.root / "keys" / f"client-{partition_id}.salt"


@dataclass(frozen=True)
class RunFolder(LedgerHome):
    """The files of one run below `root`."""

    def home(self, ledgers: str) -> LedgerHome:
        """Return where the run's ledgers live: the folder `runtime.ledgers`, or else the run's own.

        Raises:
            ConfigError: when `ledgers` is relative: Flower's processes do not run where the user is.
        """
        if not ledgers:
            return self
        root = Path(ledgers).expanduser()
        if not root.is_absolute():
            raise ConfigError(f"runtime.ledgers = {ledgers!r} is relative: give an absolute path")
        return LedgerHome(root)

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.root / "config.toml"

    @property
    def rounds(self) -> Path:
        """One JSON line a round."""
        return self.root / "rounds.jsonl"

    @property
    def model(self) -> Path:
        """The weights after the last finished round, or their average over rounds where one is kept."""
        return self.root / "model.safetensors"

    @property
    def evaluation(self) -> Path:
        """Metrics of the last model, per class and as a confusion matrix."""
        return self.root / "evaluation.json"

    @property
    def partitions(self) -> Path:
        """Label counts a client: the simulator's own knowledge, which no client sends."""
        return self.root / "partitions.json"

    @property
    def personal(self) -> Path:
        """What a personal model says of itself: its folder is read like a run's, and is none."""
        return self.root / "personal.json"

    @property
    def checkpoint(self) -> Path:
        """What a stopped run continues from."""
        return self.root / "checkpoint"

    @property
    def progress(self) -> Path:
        """One JSON line an event of a run that another process watches; nothing is continued from it."""
        return self.root / "progress.jsonl"

    @property
    def stop_request(self) -> Path:
        """Its presence asks the run to stop after the current round."""
        return self.root / "stop-requested"


def run_root(out: str, run_id: int) -> Path:
    """Return a run's folder: `runtime.out`, or else one named after Flower's run id.

    The latter lies in $FEDLEDGER_HOME/runs or ~/.fedledger/runs.

    Raises:
        ConfigError: when `out` is relative: Flower's processes do not run where the user is.
    """
    if out != "auto":
        root = Path(out).expanduser()
        if not root.is_absolute():
            raise ConfigError(f'runtime.out = {out!r} is relative: give an absolute path, or "auto"')
        return root
    home = Path(os.environ.get("FEDLEDGER_HOME", "~/.fedledger")).expanduser()
    return home / "runs" / f"flower-{run_id}"


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content durably: readers see all of the old bytes or all of the new ones.

    Raises:
        CheckpointError: when the file system refuses; the old content stands.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)  # half a file would keep a full disk full
        raise _unwritable(path, error) from None


def append_line(path: Path, line: str) -> None:
    """Append one line durably.

    Raises:
        CheckpointError: when the file system refuses.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> CheckpointError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    way_out = "free space, then --resume the run" if full else "choose another --out"
    return CheckpointError(f"{path} cannot be written ({error.strerror}): {way_out}")


@contextmanager
def exclusively(
    folder: RunFolder, *, patience_seconds: float = 0.0, way_out: str = "wait for it to end"
) -> Iterator[int]:
    """Keep other processes from running the same run, for as long as this one does.

    Args:
        patience_seconds: how long another process that holds the folder is waited for.
        way_out: what to do when that was not long enough.

    Yields:
        The descriptor that holds the folder; a child that inherits it holds the folder as well.

    Raises:
        FolderInUse: when another process holds the folder.
    """
    descriptor = os.open(folder.root, os.O_RDONLY | os.O_CLOEXEC)
    deadline = time.monotonic() + patience_seconds
    try:
        while not _locked(descriptor, folder.root):
            if time.monotonic() >= deadline:
                raise FolderInUse(f"{folder.root} is in use by another process: {way_out}")
            time.sleep(_LOCK_PAUSE_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int, root: Path) -> bool:
    """Lock a folder if no other process holds it, and say whether that was so."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise CheckpointError(
            f"{root} cannot be locked ({error.strerror}): choose --out on a local disk"
        ) from None
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
