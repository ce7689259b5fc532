"""A commitment to a data set: it fixes the records, and tells nobody anything about them.

The salt stays with the client's key. Without it nobody can test a guess of the records; with it and the
records, anybody can see that they are those committed to.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from common.errors import LedgerError
from common.ledger.durable import make_folder, write_new_file

_SALT_BYTES = 32


def commit(*, salt: bytes, digest: bytes, num_examples: int) -> str:
    """Return the commitment, SHA-256 (hex) over a label, the salt, n (8 bytes, big-endian) and the digest.

    Args:
        salt: 32 secret random bytes, the same for the data set's life.
        digest: SHA-256 of the records, 32 bytes.
        num_examples: public size n of the data set.
    """
    label = b"fedledger/1 commitment\0"
    return hashlib.sha256(label + salt + num_examples.to_bytes(8, "big") + digest).hexdigest()


def new_salt() -> bytes:
    """Return a new salt, 32 secret random bytes."""
    return secrets.token_bytes(_SALT_BYTES)


def save_salt(path: Path, salt: bytes) -> None:
    """Write a salt durably, readable by its owner only.

    Raises:
        LedgerError: when the file exists (a salt is never overwritten) or cannot be written.
    """
    try:
        make_folder(path.parent, mode=0o700)
        write_new_file(path, salt.hex().encode() + b"\n", mode=0o600)
    except FileExistsError:
        raise LedgerError(f"{path} exists already: a salt is never overwritten") from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be used ({error.strerror}): permit access") from None


def load_salt(path: Path) -> bytes:
    """Read a client's salt.

    Raises:
        LedgerError: when there is none, or the file is not a salt, or cannot be read.
    """
    try:
        salt = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        raise LedgerError(f"{path} is not a salt: restore it from a backup") from None
    except FileNotFoundError:
        raise LedgerError(f"{path} is missing: restore it from a backup") from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be used ({error.strerror}): permit access") from None
    if len(salt) != _SALT_BYTES:
        raise LedgerError(f"{path} is not a salt of {_SALT_BYTES} bytes: restore it from a backup")
    return salt
