"""Ledger files, found by their names and verified; a damaged one is reported, not raised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import LedgerError, LedgerTampered
from common.ledger import LedgerView, read_ledger

_NAME = re.compile(r"client-(0|[1-9][0-9]{0,8})\.jsonl")


@dataclass(frozen=True, kw_only=True)
class DamagedLedger:
    """A ledger that cannot be trusted, and why.

    Args:
        reason: in one line.
        flaw: the code of the finding.
        entry: number of the first entry that shows it, None where no single one does.
        place: the file, for findings.
    """

    partition_id: int
    reason: str
    flaw: str
    entry: int | None
    place: str


def number_of(file: Path) -> int | None:
    """Return the client's number that a file's name gives, None where it is no ledger's name."""
    match = _NAME.fullmatch(file.name)
    return int(match[1]) if match else None


def find_ledgers(folder: Path) -> dict[int, Path]:
    """Return a folder's ledgers by client, ascending."""
    numbered = [(number_of(file), file) for file in folder.glob("*.jsonl")]
    return dict(sorted((number, file) for number, file in numbered if number is not None))


def find_strays(folder: Path) -> tuple[str, ...]:
    """Return the names of a folder's other files that look like ledgers, sorted."""
    return tuple(sorted(file.name for file in folder.glob("*.jsonl") if number_of(file) is None))


def read_ledgers(
    files: Mapping[int, Path], root: Path
) -> tuple[dict[int, LedgerView], tuple[DamagedLedger, ...]]:
    """Verify ledgers.

    Args:
        files: by client.
        root: the folder that findings name files from.
    """
    ledgers: dict[int, LedgerView] = {}
    damaged = []
    for partition_id, file in files.items():
        found = _read(partition_id, file, file.relative_to(root).as_posix())
        if isinstance(found, LedgerView):
            ledgers[partition_id] = found
        else:
            damaged.append(found)
    return ledgers, tuple(damaged)


def _read(partition_id: int, file: Path, place: str) -> LedgerView | DamagedLedger:
    try:
        return read_ledger(file)
    except LedgerTampered as error:
        reason, flaw, entry = str(error), error.flaw, error.entry
    except (LedgerError, OSError) as error:
        reason, flaw, entry = str(error), "ledger-unreadable", None
    return DamagedLedger(partition_id=partition_id, reason=reason, flaw=flaw, entry=entry, place=place)
