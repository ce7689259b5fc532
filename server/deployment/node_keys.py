"""The keys by which clients' nodes prove who they are, and the names under which they are enrolled."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.errors import ConfigError
from common.key_kinds import is_node_key, kind_of
from server.deployment.private_files import make_private_folder, read_file, write_once

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def make_client_key(root: Path, name: str) -> tuple[Path, Path]:
    """Make the key by which one client's node proves who it is: P-384, in OpenSSH's format.

    Args:
        root: a folder; created for its owner alone.
        name: the client's name: letters, digits, dots, hyphens and underscores, at most 63.

    Returns:
        The private key's file, for the client's machine alone, and the public one's, for `enroll`.

    Raises:
        ConfigError: when the name is not one, or a key of that name is there.
    """
    check_name(name)
    private_path, public_path = root / name, root / f"{name}.pub"
    for path in (private_path, public_path):
        if path.exists():
            raise ConfigError(f"{path} exists and is never overwritten: choose another name or folder")
    make_private_folder(root)
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_once(private_path, private)
    write_once(public_path, public + f" {name}\n".encode(), mode=0o644)
    return private_path, public_path


def check_name(name: str) -> str:
    """Return a client's name if it is one.

    Raises:
        ConfigError: when it holds other characters than permitted, or too many.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r} is no client's name: give letters, digits, dots, hyphens and underscores, "
            "at most 63"
        )
    return name


def read_public_key(path: Path) -> bytes:
    """Return a node's public key as Flower holds it: PEM.

    Args:
        path: OpenSSH's public format, as `pki client` and ssh-keygen write it.

    Raises:
        ConfigError: when the file holds a private key, or no key on the curve P-384.
    """
    data = read_file(path, "a public key")
    if b"PRIVATE KEY" in data:
        raise ConfigError(f"{path} is a private key, which stays with its client: give the .pub file")
    try:
        key = serialization.load_ssh_public_key(data)
    except Exception:  # noqa: BLE001 - whatever the parser dislikes, the way out is the same
        raise ConfigError(
            f"{path} is not an OpenSSH public key: make one with `fedledger pki client`"
        ) from None
    if not is_node_key(key):
        raise ConfigError(
            f"{path} is {kind_of(key)}, where one on the curve P-384 is needed: make it at the site with "
            "`fedledger pki client`, and enrol that one"
        )
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
