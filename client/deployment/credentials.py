"""What a client proves itself with and trusts, looked at before a SuperNode stumbles over it."""

from __future__ import annotations

import hashlib
import logging
import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from common.errors import ConfigError
from common.key_kinds import is_node_key, kind_of

_log = logging.getLogger("fedledger.client")


def check_authority(path: Path) -> None:
    """Refuse a file that holds no certificate.

    Raises:
        ConfigError: when it cannot be read, or is none in PEM.
    """
    try:
        x509.load_pem_x509_certificates(_read("--ca", path))
    except ValueError:
        raise ConfigError(f"--ca {path} is not a certificate in PEM: give the CA's certificate") from None


def check_node_key(path: Path) -> None:
    """Refuse a file that is not a node's private key, as `fedledger pki client` and ssh-keygen write it.

    One that others than its owner can use is warned of.

    Raises:
        ConfigError: when it cannot be read, is another kind of key, or asks for a passphrase.
    """
    try:
        key = load_ssh_private_key(_read("--key", path), None)
    except TypeError:
        raise ConfigError(
            f"--key {path} is protected by a passphrase: a client that restarts by itself needs it without"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            f"--key {path} is not a node's private key: give what `fedledger pki client` made, without .pub"
        ) from None
    if not is_node_key(key):
        raise ConfigError(
            f"--key {path} is {kind_of(key)}, where one on the curve P-384 is needed: make it with "
            "`fedledger pki client`, and have it enrolled"
        )
    if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        _log.warning("others than its owner can use --key %s (mode %04o): chmod 600 %s", path, mode, path)


def number_of_key(path: Path, numbers: int) -> int:
    """Return the number below `numbers` that belongs to a node's key, from the hash of its public half.

    So a site that begins anew with an empty folder is still the same client, and its server asks for the
    ledger that it had.

    Args:
        path: a key that `check_node_key` has passed.
        numbers: how many there are.
    """
    public = load_ssh_private_key(_read("--key", path), None).public_key()
    digest = hashlib.sha256(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)).digest()
    return int.from_bytes(digest[:8], "big") % numbers


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option} {path} cannot be read ({error.strerror}): permit reading it") from None
