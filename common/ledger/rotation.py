"""Handing a ledger to a new key, so that a crash at any moment leaves a ledger and a key that fit.

The new key lies beside the old one, as PATH.next, before the ledger names it; only then do the files change
places. So the ledger itself says how far an interrupted rotation came. No key is ever deleted: the old one
stays as PATH.retired-1, and so does one that the ledger never named.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from common.errors import LedgerError, LedgerTampered
from common.ledger.chain import parse_lines
from common.ledger.durable import sync_folder
from common.ledger.keys import SigningKey
from common.ledger.lines import read_bytes, split_lines
from common.ledger.store import Ledger

_NEXT = ".next"


def rotate(
    ledger_path: Path, key_path: Path, *, passphrase: str | None = None, new_passphrase: str | None = None
) -> SigningKey:
    """Make a new key for a ledger; when this returns it lies at `key_path` and signs every later entry.

    Args:
        ledger_path: the ledger.
        key_path: the file of its key.
        passphrase: that opens the old key, where it is protected.
        new_passphrase: that is to protect the new one; None writes it unprotected.

    Raises:
        LedgerTampered: when the ledger does not verify, or the key is another client's.
        LedgerError: when a file cannot be used; what was not finished is by the next `current_key`.
    """
    with _alone(key_path):
        key = _settled(ledger_path, key_path, passphrase)
        ledger = Ledger.open(ledger_path, key)
        upcoming = _next_to(key_path)
        if upcoming.exists():
            _retire(upcoming)
            upcoming.unlink()
        new = SigningKey.generate()
        new.save(upcoming, new_passphrase)
        ledger.rotate(new)
        _move(key_path)
    return new


def current_key(ledger_path: Path, key_path: Path, passphrase: str | None = None) -> SigningKey:
    """Return the key that signs a ledger's next entry, and finish a rotation that a crash interrupted.

    Where no rotation was interrupted the ledger is not read, so this costs nothing; `Ledger.open` compares
    the key.

    Args:
        ledger_path: the ledger; its last line may be torn.
        key_path: the file of its key.
        passphrase: that opens the key, where it is protected.

    Raises:
        LedgerTampered: when the ledger does not verify, or neither key is its own.
        LedgerError: when a file cannot be used.
    """
    if not _next_to(key_path).exists():
        return SigningKey.load(key_path, passphrase)
    with _alone(key_path):
        return _settled(ledger_path, key_path, passphrase)


def _settled(ledger_path: Path, key_path: Path, passphrase: str | None) -> SigningKey:
    """Return the ledger's key, at `key_path`, where nobody else is rotating."""
    upcoming = _next_to(key_path)
    if not upcoming.exists():
        return SigningKey.load(key_path, passphrase)
    wanted = _public_key(ledger_path)
    for path in (upcoming, key_path):
        key = _load_if_possible(path, passphrase)
        if key is not None and key.public == wanted:
            if path == upcoming:
                _move(key_path)
            return key
    raise LedgerTampered(
        f"neither {key_path} nor {upcoming}, which an interrupted rotation left, opens as the key of "
        f"{ledger_path}: give the passphrase of the newer one, or put the ledger's newest copy back",
        flaw="signature-wrong",
    )


def _public_key(ledger_path: Path) -> bytes:
    """Return the key that a ledger names, once what it says is sure to stay on disk."""
    data = read_bytes(ledger_path)
    complete = data[: data.rfind(b"\n") + 1]
    view = parse_lines(split_lines(complete, ledger_path))
    descriptor = os.open(ledger_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return view.public_key


def _load_if_possible(path: Path, passphrase: str | None) -> SigningKey | None:
    """Return a key, or None where it does not open: its passphrase may differ from the other key's."""
    try:
        return SigningKey.load(path, passphrase)
    except LedgerError:
        return None


def _move(key_path: Path) -> None:
    """Keep the old key under another name and put the new one in its place, where there always is a key."""
    _retire(key_path)
    _next_to(key_path).replace(key_path)
    sync_folder(key_path.parent)


def _retire(path: Path) -> None:
    """Give a key a second name, PATH.retired-1 or the next that is free, unless it has one already."""
    place = path.with_name(path.name.removesuffix(_NEXT))
    for number in count(1):
        retired = place.with_name(f"{place.name}.retired-{number}")
        if retired.exists() and retired.samefile(path):
            return
        if not retired.exists():
            os.link(path, retired)
            sync_folder(path.parent)
            return


def _next_to(key_path: Path) -> Path:
    return key_path.with_name(key_path.name + _NEXT)


@contextmanager
def _alone(key_path: Path) -> Iterator[None]:
    """Wait until no other process rotates a key in this folder, and keep them out."""
    try:
        descriptor = os.open(key_path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise LedgerError(
            f"{key_path} is missing: without its key a ledger cannot be continued, restore it from a backup"
        ) from None
    except OSError as error:
        raise LedgerError(f"{key_path.parent} cannot be opened ({error.strerror}): permit access") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise LedgerError(
            f"{key_path} cannot be replaced ({error.strerror}): free space or permit access, and try again"
        ) from None
    finally:
        os.close(descriptor)
