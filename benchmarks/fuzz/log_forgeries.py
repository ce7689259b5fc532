"""Logs, checkpoints, receipts and keys that were changed and then signed anew."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

from benchmarks.fuzz.case import Case
from benchmarks.fuzz.histories import ORIGIN, SERVER
from benchmarks.fuzz.texts import mutate_bytes
from benchmarks.fuzz.values import mutate_value, to_text
from common.errors import LedgerError
from common.ledger.keys import RECEIPT
from common.transparency.identity import log_name
from common.transparency.merkle import MerkleTree
from common.transparency.note import Checkpoint, sign_note, verifier_key

_MOST_BRACKETS = 200


def note_text(note: str) -> str:
    """Return what a note says, without its signatures."""
    return note.rpartition("\n\n")[0] + "\n"


def resign_log(case: Case, other: Case, random: Random) -> Case:
    """Change leaves, and sign the tree over them; sometimes over fewer than there are."""
    lines = case.parts[0].split(b"\n")[:-1] or [b""]
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(lines))
        donor = random.choice(other.parts[0].split(b"\n"))
        lines[at] = _change_line(lines[at], donor, random)
    size = len(lines) if random.random() < 0.8 else random.randrange(len(lines) + 1)
    root = MerkleTree(lines[:size]).root()
    state = Checkpoint(origin=ORIGIN, size=size, root=root)
    note = sign_note(state.text, SERVER, ORIGIN)
    data = b"".join(line + b"\n" for line in lines)
    return Case(kind="log", parts=(data, note.encode()), signed=case.signed | other.signed | {state.text})


def _change_line(line: bytes, donor: bytes, random: Random) -> bytes:
    roll = random.random()
    value = _loads(line)
    if roll < 0.25 or not isinstance(value, dict):
        return mutate_bytes(line, donor, random).replace(b"\n", b" ")
    changed = mutate_value(value, _loads(donor), random)
    return to_text(changed, random).encode("utf-8", "surrogatepass").replace(b"\n", b" ")


def resign_note(case: Case, other: Case, random: Random) -> Case:
    """Change what a checkpoint states, and sign it."""
    text = note_text(case.parts[0].decode("utf-8", "replace"))
    donor = note_text(other.parts[0].decode("utf-8", "replace"))
    changed = mutate_bytes(text.encode(), donor.encode(), random).decode("utf-8", "replace")
    try:
        note = sign_note(changed, SERVER, ORIGIN)
    except LedgerError:
        note = changed
    return Case(kind="note", parts=(note.encode(),), signed=case.signed | other.signed | {changed})


def change_record(case: Case, other: Case, random: Random) -> tuple[bytes, frozenset[str]]:
    """Change a receipt or delivery, and mostly sign the receipt in it again."""
    value = _loads(case.parts[0])
    if not isinstance(value, dict):
        return mutate_bytes(case.parts[0], other.parts[0], random), frozenset()
    value = mutate_value(value, _loads(other.parts[0]), random)
    signed: set[str] = set()
    if random.random() < 0.6:
        signed.add(_sign_again(value if case.kind == "receipt" else _child(value, "receipt")))
    return to_text(value, random).encode("utf-8", "surrogatepass"), frozenset(signed)


def _sign_again(signed: Any) -> str:
    receipt = _child(signed, "receipt")
    if receipt is None:
        return ""
    payload = to_text(receipt).encode("utf-8", "surrogatepass")
    signed["signature"] = base64.b64encode(SERVER.sign(payload, RECEIPT)).decode()
    return to_text(signed)


def _child(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _loads(line: bytes) -> Any:
    if line.count(b"[") + line.count(b"{") > _MOST_BRACKETS:
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def other_key(random: Random) -> bytes:
    """Return a verifier key that is consistent in itself, of any size."""
    key = random.randbytes(random.choice((0, 1, 31, 32, 33, 64)))
    return verifier_key(log_name(key), key).encode() + random.choice((b"", b"\n", b"\n\n"))
