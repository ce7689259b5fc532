"""The targets by name; what they read is imported only when one is asked for."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fuzz.case import Target

NAMES = {
    "ledger": ("ledger", "LedgerTarget"),
    "log": ("log", "LogTarget"),
    "config": ("settings", "SettingsTarget"),
}
_MEMORY = Path("/dev/shm")


@contextmanager
def open_target(name: str) -> Iterator[Target]:
    """Give a target a folder for its files, in memory where the machine offers that."""
    module, cls = NAMES[name]
    make = getattr(importlib.import_module(f"benchmarks.fuzz.{module}"), cls)
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        target: Target = make(Path(folder))
        yield target
