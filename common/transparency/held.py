"""Checkpoints of a log as others hold them: the signed note, without the words that can be said again."""

from __future__ import annotations

from common.ledger.keys import verify_raw
from common.ledger.receipts import HeldCheckpoint
from common.transparency.note import Checkpoint, open_note


def hold(note: str, checkpoint: Checkpoint, public_key: bytes) -> HeldCheckpoint:
    """Return what a client keeps of a log's signed checkpoint.

    Args:
        note: the signed note.
        checkpoint: what it states.
        public_key: the log's key, 32 bytes.

    Raises:
        LedgerTampered: when the key did not sign the note.
    """
    signature = open_note(note, public_key, checkpoint.origin).signature
    return HeldCheckpoint(size=checkpoint.size, root=checkpoint.root.hex(), signature=signature)


def checkpoint_of(held: HeldCheckpoint, origin: str) -> Checkpoint:
    """Return the state of the log of this name that a held checkpoint is of."""
    return Checkpoint(origin=origin, size=held.size, root=bytes.fromhex(held.root))


def is_signed(held: HeldCheckpoint, public_key: bytes, origin: str) -> bool:
    """Say whether a log's key signed a held checkpoint."""
    return verify_raw(public_key, checkpoint_of(held, origin).text.encode(), held.signature)
