"""Which program computed: a digest over the source that takes part in every run."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import common

_PACKAGES = ("client", "common", "server")


@cache
def code_digest() -> str:
    """Return the SHA-256 (hex) over names and content of the program's own source files.

    Two records with one digest were made by the same code; the digest is stated by whoever made the record.
    """
    root = Path(next(iter(common.__path__))).parent
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()
