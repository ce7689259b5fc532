"""Reading a server's log as a stranger: its lines are those that its checkpoint was signed over.

What the folder alone cannot show: that it was put back to an older state, lines and checkpoint alike. Whoever
holds a later checkpoint of this log sees it (`LogView.contains`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import canonical
from common.errors import LedgerError, LedgerTampered
from common.transparency.merkle import MerkleTree
from common.transparency.note import Checkpoint, open_checkpoint
from common.words import counted

LOG, CHECKPOINT = "log.jsonl", "checkpoint"


@dataclass(frozen=True, kw_only=True)
class LogView:
    """A verified log.

    Args:
        lines: the signed leaves as they were written, without newlines.
        leaves: the same, parsed.
        checkpoint: the state that the server signed last.
        note: the signed note that holds the checkpoint.
        surplus: number of lines, whole or torn, after the signed ones. A crash leaves such lines; nothing was
            promised for them, and they are not in `lines`.
        tree: the Merkle tree over the lines.
    """

    lines: tuple[str, ...]
    leaves: tuple[dict[str, Any], ...] = field(repr=False)
    checkpoint: Checkpoint
    note: str
    surplus: int
    tree: MerkleTree = field(repr=False, compare=False)

    def root_at(self, size: int) -> bytes:
        """Return the root of the first `size` leaves, in logarithmic time.

        Raises:
            LedgerTampered: when the log has fewer leaves: it was cut, or put back to an older state.
        """
        if not 0 <= size <= len(self.lines):
            leaves = counted(len(self.lines), "leaf", "leaves")
            raise LedgerTampered(
                f"the log {self.checkpoint.origin} has {leaves}, but it once had {size}: "
                "put the newest copy back"
            )
        return self.tree.root(size)

    def contains(self, held: Checkpoint) -> bool:
        """Say whether this log begins with the one that a checkpoint, held by somebody else, is of."""
        same = held.origin == self.checkpoint.origin
        return same and held.size <= len(self.lines) and self.root_at(held.size) == held.root


def read_log(folder: Path, public_key: bytes, origin: str) -> LogView:
    """Verify a log without changing it.

    The checkpoint is read first: lines that a running server adds meanwhile are then surplus, not missing.

    Args:
        folder: the server's folder, such as RUN/server.
        public_key: the server's key, 32 bytes.
        origin: the name of the log.

    Raises:
        LedgerTampered: says what is not as it was signed.
        LedgerError: when the files cannot be read.
    """
    if not folder.is_dir():
        raise LedgerError(f"{folder} does not exist: name a server's folder, such as RUN/server")
    note = _read(folder / CHECKPOINT)
    data = _read(folder / LOG)
    try:
        return _verify(data, note.decode(), public_key, origin)
    except UnicodeDecodeError:
        raise LedgerTampered(f"{folder / CHECKPOINT}: it is not UTF-8") from None
    except LedgerTampered as error:
        raise LedgerTampered(f"{folder}: {error}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise LedgerTampered(
            f"{path} is missing: a log is its lines and its checkpoint, put both back"
        ) from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be read ({error.strerror}): permit access") from None


def _verify(data: bytes, note: str, public_key: bytes, origin: str) -> LogView:
    checkpoint = open_checkpoint(note, public_key, origin)
    *complete, torn = data.split(b"\n")
    size = checkpoint.size
    if len(complete) < size:
        raise LedgerTampered(
            f"the log has {len(complete)} complete lines, but {size} are signed: put the newest copy back"
        )
    signed = complete[:size]
    tree = MerkleTree(signed)
    if tree.root() != checkpoint.root:
        raise LedgerTampered(f"the root of the first {size} lines is not the signed one: a line was changed")
    leaves = tuple(_parse(index, line) for index, line in enumerate(signed))
    return LogView(
        lines=tuple(line.decode("ascii") for line in signed),
        leaves=leaves,
        checkpoint=checkpoint,
        note=note,
        surplus=len(complete) - size + (torn != b""),
        tree=tree,
    )


def _parse(index: int, line: bytes) -> dict[str, Any]:
    """Return a leaf, which its server signed, but perhaps not in the one form that all readers agree on."""
    try:
        leaf = canonical.loads(line.decode("ascii"))
    except ValueError as error:
        raise LedgerTampered(f"leaf {index}: {error}") from None
    if not isinstance(leaf, dict):
        raise LedgerTampered(f"leaf {index} is not an object")
    return leaf
