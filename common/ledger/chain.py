"""Reading a ledger as a stranger: every line in canonical form, chained, signed and in a lawful order.

What the file alone cannot show: that complete lines at its end are missing. Whoever needs to know compares
the head with the one that the server's log last recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import LedgerError, LedgerTampered
from common.ledger.entries import Abort, Acknowledged, Amend, Body, Genesis, KeyRotate, Release, Reserve
from common.ledger.keys import verify
from common.ledger.lines import NO_PREVIOUS, line_hash, open_line, read_bytes, split_lines
from common.privacy.mechanisms import Mechanism


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One verified line.

    Args:
        sequence: its number, from 0.
        previous: SHA-256 (hex) of the line before it.
        body: what it says.
        hash: SHA-256 (hex) of this line, without its newline.
    """

    sequence: int
    previous: str
    body: Body
    hash: str


@dataclass(frozen=True, kw_only=True)
class LedgerView:
    """A verified ledger: its entries, the lines that hold them, and how things stand after the last.

    Args:
        public_key: the key that must sign the next entry.
        num_examples: public size n of the data set now.
        commitments: to the data set, at first and after each AMEND.
        unclosed: charges that were neither released nor aborted, by number.
        unconfirmed: numbers of the RELEASEs without a RECEIPT.
    """

    entries: tuple[Entry, ...]
    lines: tuple[str, ...]
    public_key: bytes
    num_examples: int
    commitments: tuple[str, ...]
    unclosed: Mapping[int, Reserve] = field(repr=False)
    unconfirmed: frozenset[int] = field(repr=False)

    @property
    def genesis(self) -> Genesis:
        """The first entry's body."""
        body = self.entries[0].body
        if not isinstance(body, Genesis):
            raise LedgerTampered("entry 0 is not a GENESIS")
        return body

    @property
    def head(self) -> str:
        """SHA-256 (hex) of the last line: it stands for everything before it."""
        return self.entries[-1].hash

    @property
    def last_deed(self) -> Entry:
        """The last entry that is the client's own doing: receipts may follow it."""
        return next(entry for entry in reversed(self.entries) if not isinstance(entry.body, Acknowledged))

    def reservations(self) -> tuple[Reserve, ...]:
        """Return every charge, in order."""
        return tuple(entry.body for entry in self.entries if isinstance(entry.body, Reserve))

    def mechanisms(self, *, exclude_run: str | None = None) -> tuple[Mechanism, ...]:
        """Return every mechanism ever charged, released or not; those of one run may be left out."""
        return tuple(
            mechanism
            for reserve in self.reservations()
            if reserve.run != exclude_run
            for mechanism in reserve.mechanisms
        )

    def extend(self, lines: Iterable[str]) -> LedgerView:
        """Return the ledger with more lines, of which only the new ones are verified.

        Raises:
            LedgerTampered: names the first entry that does not continue this ledger.
        """
        return _Verifier(self).read(lines)


def parse_lines(lines: Iterable[str]) -> LedgerView:
    """Verify a ledger given as lines without newlines.

    Raises:
        LedgerTampered: names the first entry that is not as it must be, and why.
    """
    return _Verifier().read(lines)


def read_ledger(path: Path) -> LedgerView:
    """Verify a ledger file without changing it.

    Raises:
        LedgerTampered: names the first entry that is not as it must be, and why.
        LedgerError: when the file cannot be read.
    """
    return parse_lines(split_lines(read_bytes(path), path))


def naming(error: LedgerTampered, path: Path) -> LedgerTampered:
    """Return an error about an entry as one that says, too, in which file it is."""
    if error.entry is None:
        return error
    return LedgerTampered(f"{path}: {error}", flaw=error.flaw, entry=error.entry)


class _Verifier:
    """Takes lines one by one and keeps what the next one must fit."""

    def __init__(self, view: LedgerView | None = None) -> None:
        self._entries = list(view.entries) if view else []
        self._lines = list(view.lines) if view else []
        self._public_key = view.public_key if view else b""
        self._num_examples = view.num_examples if view else 0
        self._commitments = list(view.commitments) if view else []
        self._unclosed = dict(view.unclosed) if view else {}
        self._unconfirmed = set(view.unconfirmed) if view else set()

    def read(self, lines: Iterable[str]) -> LedgerView:
        """Take in lines and return the ledger with them."""
        for line in lines:
            try:
                self._take(line)
            except LedgerError as error:
                flaw = error.flaw if isinstance(error, LedgerTampered) else "entry-malformed"
                number = len(self._entries)
                raise LedgerTampered(f"entry {number}: {error}", flaw=flaw, entry=number) from None
        if not self._entries:
            raise LedgerTampered("the ledger has no entries, not even a GENESIS", flaw="ledger-torn")
        return LedgerView(
            entries=tuple(self._entries),
            lines=tuple(self._lines),
            public_key=self._public_key,
            num_examples=self._num_examples,
            commitments=tuple(self._commitments),
            unclosed=self._unclosed,
            unconfirmed=frozenset(self._unconfirmed),
        )

    def _take(self, line: str) -> None:
        sequence = len(self._entries)
        previous = self._entries[-1].hash if self._entries else NO_PREVIOUS
        opened = open_line(line, sequence=sequence, previous=previous)
        self._check_order(opened.body)
        key = opened.body.public_key if isinstance(opened.body, Genesis) else self._public_key
        if not verify(key, opened.payload, opened.signature):
            raise LedgerTampered("its signature is not that of the ledger's key", flaw="signature-wrong")
        self._note(opened.body, sequence)
        entry = Entry(sequence=sequence, previous=previous, body=opened.body, hash=line_hash(line))
        self._entries.append(entry)
        self._lines.append(line)

    def _check_order(self, body: Body) -> None:
        """Hold the entry against those before it."""
        if isinstance(body, Genesis) != (not self._entries):
            raise LedgerTampered("a ledger begins with its only GENESIS", flaw="entry-out-of-order")
        match body:
            case Release() | Abort():
                self._check_closing(body)
            case Acknowledged():
                self._check_receipt(body)
            case KeyRotate():
                self._check_rotation(body)

    def _check_closing(self, body: Release | Abort) -> None:
        reserve = self._unclosed.get(body.reserve)
        if reserve is None or (reserve.run, reserve.round) != (body.run, body.round):
            raise LedgerTampered(
                f"it closes entry {body.reserve}, which is not an open RESERVE of its round",
                flaw="entry-out-of-order",
            )

    def _check_receipt(self, body: Acknowledged) -> None:
        if body.release not in self._unconfirmed:
            raise LedgerTampered(
                f"it confirms entry {body.release}, which is not a RELEASE without a receipt",
                flaw="entry-out-of-order",
            )
        receipt, entry = body.receipt.receipt, self._entries[body.release]
        genesis = self._entries[0].body
        released = entry.body
        if not isinstance(released, Release) or not isinstance(genesis, Genesis):
            raise LedgerTampered("it confirms something other than a RELEASE", flaw="entry-out-of-order")
        expected = (genesis.ledger_id, entry.sequence, entry.hash, released.run, released.round)
        stated = (receipt.ledger_id, receipt.sequence, receipt.entry, receipt.run, receipt.round)
        if stated != expected:
            raise LedgerTampered("its receipt is for another entry", flaw="receipt-wrong")
        if not body.receipt.genuine or body.checkpoint.size <= receipt.index:
            raise LedgerTampered("its receipt is not signed by the server it names", flaw="receipt-wrong")

    def _check_rotation(self, body: KeyRotate) -> None:
        genesis = self._entries[0].body
        if not isinstance(genesis, Genesis) or not body.proven(genesis.ledger_id, len(self._entries)):
            raise LedgerTampered("the new key did not sign its own introduction", flaw="signature-wrong")

    def _note(self, body: Body, sequence: int) -> None:
        """Keep what later entries depend on."""
        match body:
            case Genesis() | Amend():
                self._num_examples = body.num_examples
                self._commitments.append(body.commitment)
            case Reserve():
                self._unclosed[sequence] = body
            case Release() | Abort():
                del self._unclosed[body.reserve]
        match body:
            case Genesis() | KeyRotate():
                self._public_key = body.public_key
            case Release():
                self._unconfirmed.add(sequence)
            case Acknowledged():
                self._unconfirmed.remove(body.release)
