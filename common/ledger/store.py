"""A ledger on disk that only grows: an entry is durable before `append` returns."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import LedgerError, LedgerFork, LedgerTampered
from common.ledger.chain import Entry, LedgerView, naming, parse_lines
from common.ledger.durable import check_complete, write_new_file
from common.ledger.entries import Body, Genesis, KeyRotate
from common.ledger.keys import SigningKey, fingerprint
from common.ledger.lines import NO_PREVIOUS, read_bytes, split_lines, write_line
from common.ledger.presence import prove_presence


class Ledger:
    """One data set's ledger, open for appending; safe to share between threads.

    No file stays open between appends, so a thousand ledgers cost no descriptors. Each append takes the
    file's lock and first makes sure that nobody else has written since.

    Args:
        path: the file.
        key: the client's key, that of the GENESIS or of the last KEY_ROTATE.
        view: the verified content of the file.
    """

    def __init__(self, path: Path, key: SigningKey, view: LedgerView) -> None:
        self._path = path
        self._key = key
        self._view = view
        self._size = sum(len(line) + 1 for line in view.lines)
        self._appending = threading.Lock()

    @classmethod
    def create(cls, path: Path, key: SigningKey, genesis: Genesis) -> Ledger:
        """Begin a ledger; the file appears whole or not at all.

        Raises:
            LedgerError: when the file exists, or cannot be written.
        """
        line = write_line(genesis, sequence=0, previous=NO_PREVIOUS, key=key)
        view = parse_lines([line])
        try:
            write_new_file(path, line.encode("ascii") + b"\n", mode=0o644)
        except FileExistsError:
            raise LedgerError(f"{path} exists already: open it instead, a ledger is for life") from None
        except OSError as error:
            raise LedgerError(f"{path} cannot be written ({error.strerror})") from None
        return cls(path, key, view)

    @classmethod
    def open(cls, path: Path, key: SigningKey) -> Ledger:
        """Verify a ledger and open it; cut off a last line that a crash left incomplete.

        Only an entry that was never confirmed can be incomplete: `append` returns after the whole line,
        newline included, is on disk.

        Raises:
            LedgerTampered: when its content does not verify, or the key is another client's.
            LedgerError: when it cannot be read, or another process is writing to it.
        """
        data = read_bytes(path)
        if data and not data.endswith(b"\n"):
            return cls(path, key, _cut_torn_line(path, key))
        return cls(path, key, _verified(data, path, key))

    @property
    def view(self) -> LedgerView:
        """The entries so far; unchanging, a later append gives a new view."""
        return self._view

    def catch_up(self) -> None:
        """Take in what another process of the same client has appended since.

        Raises:
            LedgerFork: when the file no longer begins with the entries that are known here.
            LedgerTampered: when what was appended does not verify.
            LedgerError: when the file cannot be read, or another process is writing to it.
        """
        with self._appending:
            if self._path.exists() and self._path.stat().st_size == self._size:
                return
            latest, known = Ledger.open(self._path, self._key), self._view.lines
            if latest.view.lines[: len(known)] != known:
                raise LedgerFork(f"{self._path} lost entries that it held: put the newest copy back")
            self._view, self._size = latest._view, latest._size

    def append(self, body: Body) -> Entry:
        """Add an entry; when this returns it is on disk.

        Raises:
            LedgerFork: when the file is not as this process left it.
            LedgerTampered: when the entry does not fit, such as a release without an open charge.
            LedgerError: when another process holds the ledger, or the disk refuses; nothing is added then.
        """
        with self._appending:
            sequence, previous = len(self._view.entries), self._view.head
            line = write_line(body, sequence=sequence, previous=previous, key=self._key)
            longer = self._view.extend([line])
            with _locked(self._path) as descriptor:
                self._check_unchanged(descriptor)
                self._write(descriptor, line.encode("ascii") + b"\n")
            self._view = longer
            self._size += len(line) + 1
            return longer.entries[-1]

    def prove_presence(self, run: str) -> bytes:
        """Sign that this ledger, as it is now, takes part in a run; 64 bytes."""
        return prove_presence(self._view, run, self._key)

    def rotate(self, key: SigningKey) -> Entry:
        """Let another key sign every later entry; the change itself is signed by both.

        Raises:
            LedgerFork, LedgerError: as `append`; the old key stays in use then.
        """
        entry = self.append(KeyRotate.to(key, self._view.genesis.ledger_id, len(self._view.entries)))
        self._key = key
        return entry

    def _check_unchanged(self, descriptor: int) -> None:
        tail = self._view.lines[-1].encode("ascii") + b"\n"
        unchanged = os.fstat(descriptor).st_size == self._size
        if not unchanged or os.pread(descriptor, len(tail), self._size - len(tail)) != tail:
            raise LedgerFork(f"{self._path} was changed by somebody else since it was opened: open it again")

    def _write(self, descriptor: int, data: bytes) -> None:
        try:
            written = os.pwrite(descriptor, data, self._size)
            check_complete(written, data)
            os.fsync(descriptor)
        except OSError as error:
            with suppress(OSError):  # what stays of the line is torn, and the next `open` cuts it
                os.ftruncate(descriptor, self._size)
            raise LedgerError(
                f"{self._path} cannot be written ({error.strerror}): nothing was charged"
            ) from None


def _verified(data: bytes, path: Path, key: SigningKey) -> LedgerView:
    try:
        view = parse_lines(split_lines(data, path))
    except LedgerTampered as error:
        raise naming(error, path) from None
    if view.public_key != key.public:
        raise LedgerTampered(
            f"{path} is signed by another key than this client's: bring the key with the fingerprint "
            f"{fingerprint(view.public_key)}",
            flaw="signature-wrong",
        )
    return view


def _cut_torn_line(path: Path, key: SigningKey) -> LedgerView:
    """Cut off a last line without newline, once the lines before it verify.

    The file is read again under the lock: what looked torn may have been another process's entry on its way.
    """
    with _locked(path) as descriptor:
        data = read_bytes(path)
        complete = data[: data.rfind(b"\n") + 1]
        view = _verified(complete, path, key)
        if len(complete) < len(data):
            os.ftruncate(descriptor, len(complete))
            os.fsync(descriptor)
    return view


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file for writing under an exclusive lock, without waiting for it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise LedgerError(f"{path} cannot be opened for writing ({error.strerror})") from None
    try:
        _lock(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LedgerError(f"{path} is in use by another process: wait for it to end") from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be locked ({error.strerror}): keep it on a local disk") from None
