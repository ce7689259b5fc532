"""Signed notes and checkpoints, in the form that transparency logs, witnesses and monitors exchange.

Source: C2SP signed-note v1 (https://c2sp.org/signed-note) with Ed25519 keys, and C2SP tlog-checkpoint
(https://c2sp.org/tlog-checkpoint) without extension lines.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from common.errors import LedgerError, LedgerTampered
from common.ledger.keys import SigningKey, verify_raw
from common.transparency.merkle import HASH_SIZE

MAX_NOTE = 2**20
"""Most characters of a note; room for far more than the 16 signatures that have to be accepted."""

_ED25519 = b"\x01"
_KEY_ID_SIZE = 4
_SIZE = re.compile("0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, kw_only=True)
class Note:
    """A text, and the signature over it that was looked for.

    Args:
        text: one or more lines, each with its newline.
        signature: Ed25519, 64 bytes.
    """

    text: str
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a log: everything that it held at one size.

    Args:
        origin: the log's name, unique to it.
        size: number of leaves, at least 0.
        root: root of the Merkle tree over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note's text, whose bytes are what a log signs."""
        return f"{self.origin}\n{self.size}\n{_encode(self.root)}\n"


def key_id(name: str, public_key: bytes) -> bytes:
    """Return the 4 bytes that tell a note's signatures apart; a hint, not a proof."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_SIZE]


def verifier_key(name: str, public_key: bytes) -> str:
    """Return a public key in the text form that other tools for signed notes take."""
    return f"{name}+{key_id(name, public_key).hex()}+{_encode(_ED25519 + public_key)}"


def sign_note(text: str, key: SigningKey, name: str) -> str:
    """Return a text with its signature.

    Raises:
        LedgerError: when the text or the name cannot be part of a note.
    """
    if not _is_name(name) or not _is_text(name):
        raise LedgerError(f"the key name {name!r:.60} is empty, or holds a space or a plus sign")
    if not text.endswith("\n") or not _is_text(text):
        raise LedgerError("a note's text is lines that end with a newline and hold no control characters")
    return join_note(Note(text=text, signature=key.sign_raw(text.encode())), key.public, name)


def join_note(note: Note, public_key: bytes, name: str) -> str:
    """Return the one form of a note with one signature; the signature is not checked."""
    return f"{note.text}\n\N{EM DASH} {name} {_encode(key_id(name, public_key) + note.signature)}\n"


def open_note(note: str, public_key: bytes, name: str) -> Note:
    """Return the text of a note that this key signed; signatures of unknown keys are ignored.

    Args:
        note: the whole note.
        public_key: the key that is trusted, 32 bytes.
        name: the name that the key signs under.

    Raises:
        LedgerTampered: when it is not a note, the key did not sign it, or the signature does not hold.
    """
    if len(note) > MAX_NOTE:
        raise LedgerTampered(f"the note has {len(note)} characters, permitted are {MAX_NOTE}")
    if not _is_text(note):
        raise LedgerTampered("the note holds a control character")
    head, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise LedgerTampered("the note is not a text, an empty line and signatures, each with its newline")
    text, wanted, key = head + "\n", key_id(name, public_key), verifier_key(name, public_key)
    signed = [_read_signature(line) for line in lines[:-1].split("\n")]
    own = [signature for signer, identity, signature in signed if (signer, identity) == (name, wanted)]
    if not own:
        raise LedgerTampered(f"the note has no signature of the key {key}")
    if not all(verify_raw(public_key, text.encode(), signature) for signature in own):
        raise LedgerTampered(f"the note's signature does not hold for the key {key}")
    return Note(text=text, signature=own[0])


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey, name: str) -> str:
    """Return a checkpoint as a signed note.

    Args:
        checkpoint: the state; it has to contain every state signed before.
        key: the log's key.
        name: the name that the key signs under; for the log itself its origin.

    Raises:
        LedgerError: when the checkpoint or the name has no form in a note.
    """
    try:
        _read_checkpoint(checkpoint.text)
    except LedgerTampered as error:
        raise LedgerError(f"this checkpoint cannot be signed: {error}") from None
    return sign_note(checkpoint.text, key, name)


def open_checkpoint(note: str, public_key: bytes, name: str, *, origin: str | None = None) -> Checkpoint:
    """Return the checkpoint that a key signed.

    Args:
        note: the signed note.
        public_key: the key that is trusted, 32 bytes.
        name: the name that the key signs under.
        origin: the log that the checkpoint has to be of; where it is left out, the one called `name`.

    Raises:
        LedgerTampered: when the key did not sign it, or it is not a checkpoint of this log in its one form.
    """
    checkpoint = _read_checkpoint(open_note(note, public_key, name).text)
    expected = name if origin is None else origin
    if checkpoint.origin != expected:
        raise LedgerTampered(f"the checkpoint is of the log {checkpoint.origin!r:.80}, not of {expected}")
    return checkpoint


def _read_checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or not lines[0] or lines[3]:
        raise LedgerTampered("the checkpoint is not three lines: the log's origin, its size and its root")
    origin, size, root = lines[:3]
    if not _SIZE.fullmatch(size):
        raise LedgerTampered(f"the checkpoint's size is {size!r:.40}, permitted is a whole number from 0")
    decoded = _decode(root)
    if decoded is None or len(decoded) != HASH_SIZE:
        raise LedgerTampered(f"the checkpoint's root is {root!r:.80}, permitted are 32 bytes in base64")
    return Checkpoint(origin=origin, size=int(size), root=decoded)


def _read_signature(line: str) -> tuple[str, bytes, bytes]:
    """Return a signature line's key name, key id and signature."""
    dash, _, signed = line.partition(" ")
    name, _, encoded = signed.partition(" ")
    data = _decode(encoded)
    if dash != "\N{EM DASH}" or not _is_name(name) or data is None or len(data) <= _KEY_ID_SIZE:
        raise LedgerTampered(f"the note's line {line!r:.40} is not a signature")
    return name, data[:_KEY_ID_SIZE], data[_KEY_ID_SIZE:]


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(character.isspace() for character in name)


def _is_text(text: str) -> bool:
    """Say whether a text has a form in UTF-8, and no control characters but newlines."""
    return not any(
        (character < " " and character != "\n") or "\ud800" <= character <= "\udfff" for character in text
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes | None:
    """Decode base64, if the text is its only canonical form."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _encode(data) == text else None
