"""Ledger files, found by their names and verified; a damaged one is reported, not raised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import LedgerError, LedgerTampered
from common.ledger import LedgerView
from common.ledger.many import read_many

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


def find_strays(folder: Path, root: Path) -> tuple[str, ...]:
    """Return a folder's other files that look like ledgers, named from `root` and sorted."""
    strays = (file for file in folder.glob("*.jsonl") if number_of(file) is None)
    return tuple(sorted(file.relative_to(root).as_posix() for file in strays))


def read_ledgers(
    files: Mapping[int, Path], root: Path
) -> tuple[dict[int, LedgerView], tuple[DamagedLedger, ...]]:
    """Verify ledgers.

    Args:
        files: by client.
        root: the folder that findings name files from.

    Returns:
        The readable ones by client, without the text of their lines, and the others.
    """
    ledgers: dict[int, LedgerView] = {}
    damaged = []
    for (partition_id, file), found in zip(files.items(), read_many(list(files.values())), strict=True):
        if isinstance(found, LedgerView):
            ledgers[partition_id] = found
        else:
            damaged.append(_damaged(partition_id, found, file.relative_to(root).as_posix()))
    return ledgers, tuple(damaged)


def _damaged(partition_id: int, error: LedgerError, place: str) -> DamagedLedger:
    flaw, entry = "ledger-unreadable", None
    if isinstance(error, LedgerTampered):
        flaw, entry = error.flaw, error.entry
    return DamagedLedger(partition_id=partition_id, reason=str(error), flaw=flaw, entry=entry, place=place)
