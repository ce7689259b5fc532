"""The reader of ledgers under hostile bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import rfc8785

from benchmarks.fuzz.case import Case, Outcome, Violation, refused
from benchmarks.fuzz.histories import KEYS, histories
from benchmarks.fuzz.model import Model
from benchmarks.fuzz.resign import resign
from benchmarks.fuzz.texts import mutate_bytes
from common.canonical import loads
from common.errors import LedgerTampered
from common.ledger import LedgerView, parse_lines, read_ledger
from common.ledger.lines import split_lines, write_line

FLAWS = {
    *("ledger-torn", "entry-not-canonical", "chain-broken", "entry-malformed"),
    *("entry-out-of-order", "signature-wrong", "receipt-wrong"),
}
_PATH = Path("ledger.jsonl")


class LedgerTarget:
    """`split_lines` and `parse_lines`; now and then `extend`, and `read_ledger` on a file.

    Args:
        folder: for the file.
    """

    name = "ledger"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ledger.jsonl"
        true = [scribe.lines for scribe in histories()]
        self._true = {tuple(lines[:size]) for lines in true for size in range(1, len(lines) + 1)}
        self._true_lines = {line for lines in true for line in lines}

    def seeds(self) -> Sequence[Case]:
        """Return every true ledger."""
        ledgers = sorted("".join(f"{line}\n" for line in lines) for lines in self._true)
        return [Case(kind="ledger", parts=(ledger.encode(),)) for ledger in ledgers]

    def mutate(self, case: Case, other: Case, random: Random) -> Case:
        """Forge, or change and sign again."""
        (data,), (donor,) = case.parts, other.parts
        signed = case.signed | other.signed
        if random.random() < 0.5:
            changed = mutate_bytes(data, donor, random)
        else:
            changed, more = resign(data, donor, random)
            signed |= more
        lines = changed.decode("utf-8", "replace").split("\n")
        return Case(kind="ledger", parts=(changed,), signed=signed.intersection(lines))

    def judge(self, case: Case) -> Outcome:
        """Nothing is accepted but what was signed, in one form and a lawful order."""
        data = case.parts[0]
        outcome, view = self._read(data)
        if len(data) % 16 == 0:
            self._check_file(data, outcome)
        if view is None:
            self._check_refusal(data, outcome)
            return outcome
        lines = tuple(data[:-1].decode("ascii").split("\n"))
        if view.lines != lines:
            raise Violation("same-lines", "the view holds other lines than the file")
        if lines not in self._true:
            self._check_forgery(lines, case)
            self._check_accepted(lines, view)
        self._check_extension(lines, view)
        return outcome

    def _read(self, data: bytes) -> tuple[Outcome, LedgerView | None]:
        try:
            view = parse_lines(split_lines(data, _PATH))
        except LedgerTampered as error:
            if error.flaw not in FLAWS:
                raise Violation("known-flaw", error.flaw) from error
            return refused(error, error.flaw, error.entry), None
        kinds = ["", *(type(entry.body).__name__ for entry in view.entries)]
        return Outcome(verdict="accepted", why="ledger", features=tuple(pairwise(kinds))), view

    def _check_file(self, data: bytes, outcome: Outcome) -> None:
        """A file is read as its bytes are."""
        self._file.write_bytes(data)
        try:
            read_ledger(self._file)
        except LedgerTampered as error:
            if (error.flaw, error.entry) != (outcome.why, outcome.entry):
                raise Violation("same-file", f"{outcome} of the bytes, of the file {error}") from error
        else:
            if outcome.verdict != "accepted":
                raise Violation("same-file", "the file is accepted, its bytes are not")

    def _check_refusal(self, data: bytes, outcome: Outcome) -> None:
        """Where the order is said to be wrong, the model says so of the same entry, and of none before."""
        lines = data.split(b"\n")
        if outcome.entry is not None and not 0 <= outcome.entry < len(lines):
            raise Violation("named-entry", f"entry {outcome.entry} of {len(lines)}")
        if outcome.why not in {"entry-out-of-order", "receipt-wrong", "signature-wrong"}:
            return
        model, last = Model(), outcome.entry or 0
        faults = [model.take(line.decode()) for line in lines[:last]]
        if outcome.why != "signature-wrong":
            faults.append("" if model.take(lines[last].decode()) else "lawful")
        if any(faults):
            raise Violation("model-agrees", f"{outcome.why} at entry {last}, the model says {faults}")

    def _check_forgery(self, lines: tuple[str, ...], case: Case) -> None:
        for number, line in enumerate(lines):
            if line not in self._true_lines and line not in case.signed:
                raise Violation("no-forgery", f"entry {number} was never signed, and is accepted")
        if not case.signed:
            raise Violation("no-forgery", "true lines in an order that never was are accepted")

    def _check_accepted(self, lines: tuple[str, ...], view: LedgerView) -> None:
        model = Model()
        for line, entry in zip(lines, view.entries, strict=True):
            if rfc8785.dumps(loads(line)).decode() != line:
                raise Violation("canonical", f"entry {entry.sequence} has another canonical form")
            if fault := model.take(line):
                raise Violation("lawful", f"entry {entry.sequence}: {fault}")
            if model.signer not in KEYS:
                raise Violation("no-forgery", "a key that nobody holds has signed")
            key = KEYS[model.signer]
            if write_line(entry.body, sequence=entry.sequence, previous=entry.previous, key=key) != line:
                raise Violation("round-trip", f"entry {entry.sequence} is written otherwise than it was read")
        _compare(model, view)

    def _check_extension(self, lines: tuple[str, ...], view: LedgerView) -> None:
        """A ledger that is read in two parts is the same."""
        cut = sum(map(len, lines)) % len(lines)
        if cut and parse_lines(lines[:cut]).extend(lines[cut:]) != view:
            raise Violation("extend", f"cut after {cut} lines it reads otherwise")


def _compare(model: Model, view: LedgerView) -> None:
    """The view says of the ledger what the model says."""
    seen = {
        "charges": len(view.reservations()),
        "mechanisms": len(view.mechanisms()),
        "examples": view.num_examples,
        "commitments": list(view.commitments),
        "key": view.public_key,
        "open": set(view.unclosed),
        "unconfirmed": set(view.unconfirmed),
        "head": view.head,
    }
    expected = {
        "charges": model.charges,
        "mechanisms": model.mechanisms,
        "examples": model.num_examples,
        "commitments": model.commitments,
        "key": model.key,
        "open": model.open_charges(),
        "unconfirmed": model.unconfirmed(),
        "head": model.hashes[-1],
    }
    if seen != expected:
        names = [name for name, value in expected.items() if seen[name] != value]
        raise Violation("consistent-view", f"{names} differ")
