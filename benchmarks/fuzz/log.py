"""The readers of a server's log, checkpoints, keys, receipts and deliveries under hostile bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import rfc8785

from benchmarks.fuzz.case import Case, Outcome, Violation, refused
from benchmarks.fuzz.histories import ORIGIN, SERVER, Log, histories
from benchmarks.fuzz.log_forgeries import change_record, note_text, other_key, resign_log, resign_note
from benchmarks.fuzz.texts import mutate_bytes
from benchmarks.fuzz.values import to_text
from benchmarks.fuzz.wire import judge_delivery, true_deliveries
from common.errors import LedgerError
from common.ledger.receipts import receipt_from_json
from common.transparency.identity import log_name, read_key
from common.transparency.leaves import leaf_from_json
from common.transparency.note import open_checkpoint, verifier_key
from common.transparency.view import read_log


class LogTarget:
    """`read_log`, `open_checkpoint`, `read_key`, `receipt_from_json`, and deliveries on the wire.

    Args:
        folder: for the files.
    """

    name = "log"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs = [scribe.log for scribe in histories() if scribe.log.lines]
        self._true = {_state(log, size) for log in self._logs for size in range(1, len(log.lines) + 1)}
        self._texts = {note_text(note) for log in self._logs for note in log.notes}
        self._key = verifier_key(ORIGIN, SERVER.public)
        receipts = [record["receipt"] for record in map(json.loads, true_deliveries())]
        self._receipts = {to_text(receipt) for receipt in receipts}
        self._judges: dict[str, Callable[[Case], Outcome]] = {
            "log": self._judge_log,
            "note": self._judge_note,
            "key": self._judge_key,
            "receipt": self._judge_receipt,
            "delivery": judge_delivery,
        }

    def seeds(self) -> Sequence[Case]:
        """Return true logs of all sizes, their notes, and the receipts in them."""
        states = [(log, size) for log in self._logs for size in range(1, len(log.lines) + 1)]
        parts = [(_lines(log, size), log.notes[size - 1].encode()) for log, size in states]
        files = [Case(kind="log", parts=pair) for pair in parts]
        notes = [Case(kind="note", parts=(log.notes[-1].encode(),)) for log in self._logs]
        receipts = [Case(kind="receipt", parts=(text.encode(),)) for text in sorted(self._receipts)]
        deliveries = [Case(kind="delivery", parts=(text.encode(),)) for text in true_deliveries()]
        return [*files, *notes, *receipts, *deliveries, Case(kind="key", parts=(self._key.encode() + b"\n",))]

    def mutate(self, case: Case, other: Case, random: Random) -> Case:
        """Forge, or change and sign again."""
        signed = case.signed | other.signed
        if case.kind == "log" and random.random() < 0.6:
            return resign_log(case, other, random)
        if case.kind in {"receipt", "delivery"} and random.random() < 0.7:
            changed, more = change_record(case, other, random)
            return Case(kind=case.kind, parts=(changed,), signed=signed | more)
        if case.kind == "note" and random.random() < 0.4:
            return resign_note(case, other, random)
        if case.kind == "key" and random.random() < 0.3:
            return Case(kind="key", parts=(other_key(random),))
        parts = list(case.parts)
        at = random.randrange(len(parts))
        parts[at] = mutate_bytes(parts[at], other.parts[at], random)
        return Case(kind=case.kind, parts=tuple(parts), signed=signed)

    def judge(self, case: Case) -> Outcome:
        """Nothing is accepted but what was signed, in one form."""
        try:
            return self._judges[case.kind](case)
        except LedgerError as error:
            return refused(error, type(error).__name__)

    def _judge_log(self, case: Case) -> Outcome:
        for name, data in zip(("log.jsonl", "checkpoint"), case.parts, strict=True):
            (self._folder / name).write_bytes(data)
        view = read_log(self._folder, SERVER.public, ORIGIN)
        if (view.lines, view.checkpoint.text) not in self._true:
            self._check_signed(view.checkpoint.text, case)
        if view.checkpoint.size != len(view.lines) or _root(view.lines) != view.checkpoint.root:
            raise Violation("signed-lines", "the lines are not those under the signed root")
        stated = case.parts[0].decode("ascii", "replace").split("\n")
        if stated[: len(view.lines)] != list(view.lines):
            raise Violation("same-lines", "the view holds other lines than the file")
        kinds = [_leaf_kind(line) for line in view.lines]
        return Outcome(verdict="accepted", why="log", features=(*kinds, ("surplus", min(view.surplus, 2))))

    def _judge_note(self, case: Case) -> Outcome:
        note = case.parts[0].decode("utf-8", "surrogateescape")
        checkpoint = open_checkpoint(note, SERVER.public, ORIGIN)
        self._check_signed(checkpoint.text, case)
        if not note.startswith(f"{checkpoint.text}\n"):
            raise Violation("same-lines", "the checkpoint is not what the note begins with")
        return Outcome(verdict="accepted", why="note", features=(min(note.count("\n"), 8),))

    def _check_signed(self, text: str, case: Case) -> None:
        if text not in self._texts and text not in case.signed:
            raise Violation("no-forgery", f"a checkpoint that was never signed is accepted: {text!r:.100}")

    def _judge_key(self, case: Case) -> Outcome:
        path = self._folder / "key.pub"
        path.write_bytes(case.parts[0])
        key = read_key(path)
        if len(key) != 32:
            raise Violation("key-size", f"a key of {len(key)} bytes is accepted")
        if case.parts[0].decode().removesuffix("\n") != verifier_key(log_name(key), key):
            raise Violation("canonical", "a key in another form is accepted")
        return Outcome(verdict="accepted", why="key", features=(key == SERVER.public,))

    def _judge_receipt(self, case: Case) -> Outcome:
        try:
            value = json.loads(case.parts[0])
        except (ValueError, RecursionError):
            return Outcome(verdict="refused", why="no JSON at all")
        signed = receipt_from_json(value)
        text = to_text(signed.to_json())
        if to_text(value) != text:
            raise Violation("round-trip", "a receipt is written otherwise than it was read")
        if signed.genuine and text not in self._receipts | case.signed:
            raise Violation("no-forgery", "a receipt that was never signed is genuine")
        return Outcome(verdict="accepted", why="receipt", features=(signed.genuine,))


def _state(log: Log, size: int) -> tuple[tuple[str, ...], str]:
    return tuple(log.lines[:size]), note_text(log.notes[size - 1])


def _lines(log: Log, size: int) -> bytes:
    return "".join(f"{line}\n" for line in log.lines[:size]).encode()


def _leaf_kind(line: str) -> tuple[str, str]:
    """Hold a leaf against its canonical form, and read it as its kind; a wrong field is no other error."""
    value = json.loads(line)
    if rfc8785.dumps(value).decode() != line:
        raise Violation("canonical", "a leaf has another canonical form")
    try:
        leaf = leaf_from_json(value)
    except LedgerError as error:
        return ("leaf", refused(error, "leaf").words)
    return ("leaf", type(leaf).__name__)


def _root(lines: Sequence[str]) -> bytes:
    """Return the Merkle root, by the definition in RFC 6962, section 2.1."""
    if not lines:
        return hashlib.sha256().digest()
    if len(lines) == 1:
        return hashlib.sha256(b"\x00" + lines[0].encode()).digest()
    cut = 1
    while 2 * cut < len(lines):
        cut *= 2
    return hashlib.sha256(b"\x01" + _root(lines[:cut]) + _root(lines[cut:])).digest()
