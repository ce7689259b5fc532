"""Ed25519 keys that sign entries, and the bytes that are signed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
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

PAYLOAD_TYPE = b"application/vnd.fedledger.entry+json"


@dataclass(frozen=True)
class SigningKey:
    """A client's private key. Keep it out of the ledger's folder: it must not travel with what it signs."""

    _private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key that `save` wrote.

        Raises:
            LedgerError: when it is missing or not a key.
        """
        try:
            private = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            raise LedgerError(f"{path} is missing: without its key a ledger cannot be continued") from None
        except (OSError, ValueError, TypeError):
            raise LedgerError(f"{path} is not a readable Ed25519 key: restore it from a backup") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise LedgerError(f"{path} is not an Ed25519 key: restore it from a backup")
        return cls(private)

    def save(self, path: Path) -> None:
        """Write the key durably, readable by its owner only.

        Raises:
            LedgerError: when the file exists (a key is never overwritten) or cannot be written.
        """
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            make_folder(path.parent, mode=0o700)
            write_new_file(path, pem, mode=0o600)
        except FileExistsError:
            raise LedgerError(f"{path} exists already: a key is never overwritten") from None
        except OSError as error:
            raise LedgerError(f"{path} cannot be written ({error.strerror})") from None

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, payload: bytes) -> bytes:
        """Sign a payload; 64 bytes."""
        return self._private.sign(pre_authentication_encoding(payload))


def verify(public_key: bytes, payload: bytes, signature: bytes) -> bool:
    """Say whether a signature over a payload is that of a key."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, pre_authentication_encoding(payload))
    except (InvalidSignature, ValueError):
        return False
    return True


def pre_authentication_encoding(payload: bytes) -> bytes:
    """Return the bytes that are signed. Source: DSSE protocol 1.0, "PAE"."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE, len(payload), payload)
