"""Beginning a ledger, so that a crash at the very first start is told from a loss.

Key and salt wait beside their places until the GENESIS is on disk; only then do they take their names. So
where one of them has its name and there is no ledger, the ledger was lost: none may be begun in its stead.
What waits is named after the key, as the GENESIS names it too: what a crash leaves is never taken for part
of a later beginning, or of another process's.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import LedgerError, LedgerTampered
from common.ledger.chain import naming, parse_lines
from common.ledger.commitment import save_salt
from common.ledger.entries import Genesis
from common.ledger.keys import SigningKey, fingerprint
from common.ledger.lines import read_bytes, split_lines
from common.ledger.store import Ledger


@dataclass(frozen=True, kw_only=True)
class ClientFiles:
    """Where a client's ledger, its key and its salt have their places."""

    ledger: Path
    key: Path
    salt: Path


def has_begun(files: ClientFiles) -> bool:
    """Say whether there is a ledger, and finish its beginning where a crash interrupted that.

    Raises:
        LedgerError: when the ledger is lost: its key or its salt is there, and it is not.
        LedgerTampered: when it is there without a key, and its first entry does not verify.
    """
    if files.ledger.exists():
        if not files.key.exists():
            _take_names(files, _first_key(files.ledger))
        return True
    if files.key.exists() or files.salt.exists():
        raise LedgerError(
            f"{files.ledger} is missing: put it back, it alone says what this client has spent (only if none "
            f"was ever begun, as with a key made beforehand: remove {files.key.with_suffix('')}.*)"
        )
    return False


def begin(
    files: ClientFiles, key: SigningKey, salt: bytes, genesis: Genesis, passphrase: str | None = None
) -> Ledger:
    """Begin a ledger with its key and salt; when this returns all three are on disk.

    Args:
        passphrase: that is to protect the key; None writes it unprotected.

    Raises:
        LedgerError: when there is one already, or a file cannot be written.
    """
    save_salt(_waiting(files.salt, key.public), salt)
    key.save(_waiting(files.key, key.public), passphrase)
    ledger = Ledger.create(files.ledger, key, genesis)
    _take_names(files, key.public)
    return ledger


def _first_key(path: Path) -> bytes:
    """Return the key with which a ledger began; what a crash may have left at its end is no matter."""
    data = read_bytes(path)
    try:
        return parse_lines(split_lines(data[: data.find(b"\n") + 1], path)).public_key
    except LedgerTampered as error:
        raise naming(error, path) from None


def _take_names(files: ClientFiles, public_key: bytes) -> None:
    """Give key and salt their names, if they wait for that; should the disk forget it, they wait again."""
    for path in (files.salt, files.key):
        try:
            with suppress(FileNotFoundError):
                _waiting(path, public_key).replace(path)
        except OSError as error:
            raise LedgerError(f"{path} cannot be written ({error.strerror}): permit access") from None


def _waiting(path: Path, public_key: bytes) -> Path:
    return path.with_name(f"{path.name}.first-{fingerprint(public_key)}")
