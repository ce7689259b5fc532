"""The server's log as an audit needs it: verified, and sorted by what its leaves are about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from common.errors import LedgerError, LedgerTampered
from common.transparency.identity import KEY_FILE, log_name, read_key
from common.transparency.leaves import Leaf, LoggedHead, LoggedRound, leaf_from_json
from common.transparency.view import CHECKPOINT, LOG, LogView, read_log

_L = TypeVar("_L", bound=Leaf)


@dataclass(frozen=True, kw_only=True)
class DamagedLog:
    """A server's log that cannot be trusted, and the reason in one line."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class ServerRecords:
    """A verified log.

    Args:
        public_key: the server's key, 32 bytes.
        view: the log's lines and its signed state.
        leaves: those whose kind is known, by number.
    """

    public_key: bytes
    view: LogView
    leaves: dict[int, Leaf] = field(repr=False)

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self.view.checkpoint.origin

    def of_kind(self, kind: type[_L]) -> Iterator[tuple[int, _L]]:
        """Yield the leaves of one kind with their numbers, oldest first."""
        return ((index, leaf) for index, leaf in self.leaves.items() if isinstance(leaf, kind))

    def last_rounds(self, run: str) -> dict[int, tuple[int, LoggedRound]]:
        """Return the last record of every round of a run, with its leaf's number."""
        return {leaf.round: (index, leaf) for index, leaf in self.of_kind(LoggedRound) if leaf.run == run}

    def ended_after(self, run: str, index: int) -> bool:
        """Say whether a run was brought to its end after this leaf: heads of its ledgers follow."""
        return any(place > index and leaf.run == run for place, leaf in self.of_kind(LoggedHead))


def is_log(folder: Path) -> bool:
    """Say whether a folder holds a server's log, or a part of one."""
    return any((folder / name).is_file() for name in (LOG, CHECKPOINT, KEY_FILE))


def read_server(folder: Path) -> ServerRecords | DamagedLog | None:
    """Verify a server's log; a damaged one is returned as such, and None where there is none."""
    if not is_log(folder):
        return None
    try:
        public_key = read_key(folder / KEY_FILE)
        view = read_log(folder, public_key, log_name(public_key))
        return ServerRecords(public_key=public_key, view=view, leaves=_leaves(view))
    except LedgerError as error:
        return DamagedLog(reason=str(error))


def _leaves(view: LogView) -> dict[int, Leaf]:
    leaves = {}
    for index, value in enumerate(view.leaves):
        try:
            leaf = leaf_from_json(value)
        except LedgerError as error:
            raise LedgerTampered(f"leaf {index} is not what a server writes: {error}") from None
        if leaf is not None:
            leaves[index] = leaf
    return leaves
