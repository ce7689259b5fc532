"""The server's log on disk: what `append` returned for is durable, signed, and never taken back."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from common import canonical
from common.errors import LedgerError, LedgerFork
from common.ledger.durable import check_complete, make_folder, replace_file, sync_folder
from common.ledger.keys import SigningKey
from common.transparency.merkle import EMPTY_ROOT
from common.transparency.note import Checkpoint, sign_checkpoint
from common.transparency.view import CHECKPOINT, LOG, LogView, read_log


class ServerLog:
    """A log that its server appends to; safe to share between threads.

    The log stays locked until it is closed: two processes that both sign would sign two histories.

    Args:
        folder: where its two files lie.
        key: the server's key.
        file: the open and locked file of lines, which ends with the last signed one.
        view: its verified content.
    """

    def __init__(self, folder: Path, key: SigningKey, file: FileIO, view: LogView) -> None:
        self._folder = folder
        self._key = key
        self._file = file
        self._origin = view.checkpoint.origin
        self._note = view.note
        self._lines = list(view.lines)
        self._tree = view.tree
        self._bytes = _length(view)
        self._appending = threading.Lock()

    @classmethod
    def open(cls, folder: Path, key: SigningKey, origin: str) -> Self:
        """Verify a log and open it, or begin one; cut off lines after the signed ones.

        Only leaves that were never confirmed can lie there: `append` returns once a checkpoint of them is
        durable.

        Args:
            folder: where its two files lie; it is made where it is missing.
            key: the server's key.
            origin: the name of the log.

        Raises:
            LedgerTampered: when its files are not what this key signed.
            LedgerError: when another process has it open, or the disk refuses.
        """
        try:
            file = _open_locked(folder)
        except OSError as error:
            raise LedgerError(f"{folder} cannot be opened for writing ({error.strerror})") from None
        try:
            return cls(folder, key, file, _recover(folder, key, origin, file))
        except OSError as error:
            file.close()
            raise LedgerError(f"{folder} cannot be written ({error.strerror}): free space") from None
        except LedgerError:
            file.close()
            raise

    def close(self) -> None:
        """Give the log free for other processes; it can still be read here, but not appended to."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Number of leaves, all of them signed."""
        return len(self._lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """A copy of the leaves as they were written, without newlines."""
        return tuple(self._lines)

    @property
    def root(self) -> bytes:
        """The root of the Merkle tree over all leaves, 32 bytes."""
        return self._tree.root(self.size)

    @property
    def checkpoint(self) -> str:
        """The signed note that states size and root."""
        return self._note

    def inclusion_proof(self, index: int) -> tuple[bytes, ...]:
        """Return the hashes that lead from a leaf to the root.

        Raises:
            LedgerError: when there is no such leaf.
        """
        return self._tree.inclusion_proof(index, self.size)

    def consistency_proof(self, old_size: int) -> tuple[bytes, ...]:
        """Return the hashes that show the log to begin with what it was at an older size.

        Raises:
            LedgerError: when it has not reached that size.
        """
        return self._tree.consistency_proof(old_size, self.size)

    def append(self, leaves: Sequence[Mapping[str, Any]]) -> range:
        """Add leaves under one new checkpoint; when this returns they are durable and signed.

        Where the disk refuses, the log closes itself: the next `open` finds out what stands.

        Args:
            leaves: objects that have a canonical form, which holds no floats.

        Returns:
            The numbers of the new leaves.

        Raises:
            LedgerFork: when the file is not as this process left it.
            LedgerError: when a leaf has no canonical form, the log is closed, or the disk refuses.
        """
        encoded = [_encode(leaf) for leaf in leaves]
        with self._appending:
            first = self.size
            if encoded:
                self._check_unchanged()
                self._write(encoded)
            return range(first, self.size)

    def _check_unchanged(self) -> None:
        if self._file.closed:
            raise LedgerError(f"{self._folder / LOG} is closed: open it again")
        path, mine = self._folder / LOG, os.fstat(self._file.fileno())
        if not path.exists() or not os.path.samestat(path.stat(), mine) or mine.st_size != self._bytes:
            raise LedgerFork(f"{path} was changed by somebody else since it was opened: open it again")

    def _write(self, lines: list[bytes]) -> None:
        data = b"".join(line + b"\n" for line in lines)
        try:
            check_complete(os.pwrite(self._file.fileno(), data, self._bytes), data)
            os.fsync(self._file.fileno())
            for line in lines:
                self._tree.append(line)
            checkpoint = Checkpoint(origin=self._origin, size=self._tree.size, root=self._tree.root())
            note = _publish(self._folder, checkpoint, self._key)
        except OSError as error:
            self.close()
            raise LedgerError(
                f"{self._folder} cannot be written ({error.strerror}): nothing was confirmed, free space and "
                "open the log again"
            ) from None
        self._lines += [line.decode("ascii") for line in lines]
        self._note = note
        self._bytes += len(data)


def _encode(leaf: Mapping[str, Any]) -> bytes:
    try:
        return canonical.dumps(dict(leaf))
    except ValueError as error:
        raise LedgerError(f"a leaf of the log has no canonical form: {error}") from None


def _publish(folder: Path, checkpoint: Checkpoint, key: SigningKey) -> str:
    """Sign a checkpoint and put it in the place of the last one, durably."""
    note = sign_checkpoint(checkpoint, key, checkpoint.origin)
    replace_file(folder / CHECKPOINT, note.encode(), mode=0o644)
    return note


def _length(view: LogView) -> int:
    return sum(len(line) + 1 for line in view.lines)


def _recover(folder: Path, key: SigningKey, origin: str, file: FileIO) -> LogView:
    """Verify what stands, cut off what was not signed, and make durable what a crash left in memory."""
    empty = os.fstat(file.fileno()).st_size == 0
    if empty and not (folder / CHECKPOINT).exists():
        _publish(folder, Checkpoint(origin=origin, size=0, root=EMPTY_ROOT), key)
    view = read_log(folder, key.public, origin)
    if view.surplus:
        os.ftruncate(file.fileno(), _length(view))
    os.fsync(file.fileno())
    sync_folder(folder)
    return view


def _open_locked(folder: Path) -> FileIO:
    """Open the file of lines under an exclusive lock, without waiting for it; make it where it is new."""
    path = folder / LOG
    if not folder.is_dir():
        make_folder(folder, mode=0o777)
        sync_folder(folder.parent)
    new = 0 if (folder / CHECKPOINT).exists() else os.O_CREAT
    file = FileIO(os.open(path, os.O_RDWR | os.O_CLOEXEC | new, 0o644), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise LedgerError(f"{path} is in use by another process: wait for it to end") from None
        raise LedgerError(f"{path} cannot be locked ({error.strerror}): keep it on a local disk") from None
    return file
