"""Which program computed: a digest over the source that takes part in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

import common

PACKAGES = ("client", "common", "server")
CONSTANTS = ("common/models/patches/bank.json",)
"""Files of numbers that take part in what is computed."""


@cache
def code_digest() -> str:
    """Return the SHA-256 (hex) over names and content of the program's own source files.

    Two records with one digest were made by the same code; the digest is stated by whoever made the record.
    """
    return source_digest(installed_sources())


def installed_sources() -> dict[str, bytes]:
    """Read the program's own source files and constants, by their path below what holds its packages."""
    root = Path(next(iter(common.__path__))).parent
    files = [file for package in PACKAGES for file in (root / package).rglob("*.py")]
    files += [root / name for name in CONSTANTS]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def source_digest(sources: Mapping[str, bytes]) -> str:
    """Return the SHA-256 (hex) over names and content of source files, wherever they come from."""
    digest = hashlib.sha256()
    for name in sorted(sources, key=PurePosixPath):
        digest.update(f"{name}\0".encode() + sources[name] + b"\0")
    return digest.hexdigest()
