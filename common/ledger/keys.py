"""Ed25519 keys, and the bytes that they sign."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from common.errors import LedgerError
from common.ledger.durable import make_folder, write_new_file
from common.ledger.protection import encrypted_pem

ENTRY = b"application/vnd.fedledger.entry+json"
RECEIPT = b"application/vnd.fedledger.receipt+json"
KEY = b"application/vnd.fedledger.key+json"
NONCE = b"application/vnd.fedledger.nonce+json"
PRESENCE = b"application/vnd.fedledger.presence+json"
"""Payload types: a signature over one kind of record is none over another."""

PASSPHRASE_VARIABLE = "FEDLEDGER_PASSPHRASE"  # noqa: S105 - the name, not the passphrase

_PROTECTED = b"ENCRYPTED"


@dataclass(frozen=True)
class SigningKey:
    """A private key. Keep it out of the ledger's folder: it must not travel with what it signs."""

    _private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, passphrase: str | None = None) -> Self:
        """Read a key that `save` wrote.

        Raises:
            LedgerError: when it is missing, not a key, or protected by another passphrase.
        """
        pem = _read(path)
        protected = _PROTECTED in pem
        if protected and not passphrase:
            raise LedgerError(f"{path} is protected by a passphrase: put it into ${PASSPHRASE_VARIABLE}")
        try:
            private = load_pem_private_key(pem, passphrase.encode() if protected and passphrase else None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            if protected:
                raise LedgerError(f"{path} does not open with this passphrase: give the right one") from None
            raise LedgerError(f"{path} is not a readable Ed25519 key: restore it from a backup") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise LedgerError(f"{path} is not an Ed25519 key: restore it from a backup")
        return cls(private)

    def save(self, path: Path, passphrase: str | None = None) -> None:
        """Write the key durably, readable by its owner only, and encrypted where a passphrase is given.

        Raises:
            LedgerError: when the file exists (a key is never overwritten) or cannot be written.
        """
        form = Encoding.DER if passphrase else Encoding.PEM
        pem = self._private.private_bytes(form, PrivateFormat.PKCS8, NoEncryption())
        if passphrase:
            pem = encrypted_pem(pem, passphrase)
        try:
            make_folder(path.parent, mode=0o700)
            write_new_file(path, pem, mode=0o600)
        except FileExistsError:
            raise LedgerError(f"{path} exists already: a key is never overwritten") from None
        except OSError as error:
            raise LedgerError(
                f"{path} cannot be written ({error.strerror}): permit access, or choose another place"
            ) from None

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, payload: bytes, payload_type: bytes = ENTRY) -> bytes:
        """Sign a payload as what it is; 64 bytes."""
        return self.sign_raw(pre_authentication_encoding(payload, payload_type))

    def sign_raw(self, message: bytes) -> bytes:
        """Sign bytes as they are, for formats that have a separation of their own, such as signed notes."""
        return self._private.sign(message)


def verify(public_key: bytes, payload: bytes, signature: bytes, payload_type: bytes = ENTRY) -> bool:
    """Say whether a signature over a payload of a type is that of a key."""
    return verify_raw(public_key, pre_authentication_encoding(payload, payload_type), signature)


def verify_raw(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether a signature over bytes as they are is that of a key."""
    try:
        _loaded(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def pre_authentication_encoding(payload: bytes, payload_type: bytes = ENTRY) -> bytes:
    """Return the bytes that are signed. Source: DSSE protocol 1.0, "PAE"."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type, len(payload), payload)


def fingerprint(public_key: bytes) -> str:
    """Return 16 hexadecimal digits that people can compare: the first of the key's SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def is_protected(path: Path) -> bool:
    """Say whether a key file asks for a passphrase.

    Raises:
        LedgerError: when it cannot be read.
    """
    return _PROTECTED in _read(path)


def passphrase_from_environment() -> str | None:
    """Return the passphrase of this machine's keys, from $FEDLEDGER_PASSPHRASE, or None where it is unset."""
    return os.environ.get(PASSPHRASE_VARIABLE) or None


@lru_cache(maxsize=4096)
def _loaded(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise LedgerError(
            f"{path} is missing: without its key a ledger cannot be continued, restore it from a backup"
        ) from None
    except IsADirectoryError:
        raise LedgerError(f"{path} is a folder: name one key in it, such as {path}/client-0.key") from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be read ({error.strerror}): permit access") from None
