"""Ledgers as the server saw them last: what it knows of budgets between runs, and during one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from common.errors import LedgerError
from common.ledger import LedgerView, parse_lines
from common.run_folder import LedgerHome, write_atomically


class SeenLedgers:
    """Copies of ledgers in a home, one each, named by identity; for whoever asks, and for no decision.

    What a later run may charge follows from the ledger that its client shows then, and from the server's log.

    Args:
        home: where the server's log lies.
    """

    def __init__(self, home: LedgerHome) -> None:
        self._folder = home.root / "seen"
        self._written: dict[str, int] = {}

    def keep(self, ledgers: Iterable[LedgerView]) -> None:
        """Write what is new in ledgers.

        Raises:
            CheckpointError, OSError: when the folder cannot be written.
        """
        for ledger in ledgers:
            identity, lines = ledger.genesis.ledger_id, ledger.lines
            written = self._written.get(identity)
            path = self._path(identity)
            if written is None:
                write_atomically(path, _text(lines))
            elif written < len(lines):
                with path.open("ab") as file:
                    file.write(_text(lines[written:]))
            self._written[identity] = len(lines)

    def read(self, identity: str) -> LedgerView | None:
        """Return a ledger as it was seen last; None where it was not, or the copy does not verify."""
        try:
            data = self._path(identity).read_bytes()
            whole = data[: data.rfind(b"\n") + 1].decode("ascii")
            ledger = parse_lines(whole.splitlines())
        except (OSError, UnicodeDecodeError, LedgerError):
            return None
        return ledger if ledger.genesis.ledger_id == identity else None

    def _path(self, identity: str) -> Path:
        return self._folder / f"{identity}.jsonl"


def _text(lines: Iterable[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode("ascii")
