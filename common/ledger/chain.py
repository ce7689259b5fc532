"""Reading a ledger as a stranger: every line in canonical form, chained, signed and in a lawful order.

What the file alone cannot show: that complete lines at its end are missing. Whoever needs to know compares
the head with the one that the server last saw.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785

from common.errors import LedgerError, LedgerTampered
from common.ledger.entries import Abort, Body, Genesis, Release, Reserve, body_from_json, body_to_json
from common.ledger.keys import SigningKey, verify
from common.privacy.mechanisms import Mechanism

FORMAT = "fedledger/1"
NO_PREVIOUS = "0" * 64


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
    """A verified ledger: its entries and the lines that hold them."""

    entries: tuple[Entry, ...]
    lines: tuple[str, ...]

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


def read_bytes(path: Path) -> bytes:
    """Read a file whole, or raise LedgerError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise LedgerError(
            f"{path} does not exist: name a ledger, such as RUN/ledgers/client-0.jsonl"
        ) from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be read ({error.strerror})") from None


def split_lines(data: bytes, path: Path) -> list[str]:
    """Split a ledger's bytes at newlines, every line having one.

    Raises:
        LedgerTampered: when it does not end with a newline, or is not ASCII.
    """
    if not data.endswith(b"\n"):
        raise LedgerTampered(
            f"{path} does not end with a complete entry: it is empty, cut or was torn by a crash"
        )
    try:
        return data[:-1].decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n")
        raise LedgerTampered(f"entry {number} holds a byte that is not ASCII") from None


def line_hash(line: str) -> str:
    """Return the SHA-256 (hex) of a line, without its newline."""
    return hashlib.sha256(line.encode("ascii")).hexdigest()


def write_line(body: Body, *, sequence: int, previous: str, key: SigningKey) -> str:
    """Return the signed line that holds `body`, without its newline."""
    chained = {"format": FORMAT, "sequence": sequence, "previous": previous, **body_to_json(body)}
    signature = base64.b64encode(key.sign(rfc8785.dumps(chained))).decode("ascii")
    return rfc8785.dumps({"entry": chained, "signature": signature}).decode("ascii")


class _Verifier:
    """Takes lines one by one and keeps what the next one must fit."""

    def __init__(self, view: LedgerView | None = None) -> None:
        self._entries = list(view.entries) if view else []
        self._lines = list(view.lines) if view else []
        self._open = {e.sequence: e.body for e in self._entries if isinstance(e.body, Reserve)}
        for entry in self._entries:
            if isinstance(entry.body, Release | Abort):
                del self._open[entry.body.reserve]

    def read(self, lines: Iterable[str]) -> LedgerView:
        """Take in lines and return the ledger with them."""
        for line in lines:
            try:
                self._take(line)
            except LedgerError as error:
                raise LedgerTampered(f"entry {len(self._entries)}: {error}") from None
        if not self._entries:
            raise LedgerTampered("the ledger has no entries, not even a GENESIS")
        return LedgerView(entries=tuple(self._entries), lines=tuple(self._lines))

    def _take(self, line: str) -> None:
        chained, signature = _open_envelope(line)
        sequence = len(self._entries)
        previous = self._entries[-1].hash if self._entries else NO_PREVIOUS
        expected = {"format": FORMAT, "sequence": sequence, "previous": previous}
        for name, value in expected.items():
            if chained.get(name) != value or type(chained.get(name)) is not type(value):
                raise LedgerTampered(
                    f"its {name} is {chained.get(name)!r:.80}, which does not continue the chain"
                )
        body = body_from_json({name: value for name, value in chained.items() if name not in expected})
        self._check_order(body)
        genesis = self._entries[0].body if self._entries else body
        if not isinstance(genesis, Genesis) or not verify(
            genesis.public_key, rfc8785.dumps(chained), signature
        ):
            raise LedgerTampered("its signature is not that of the ledger's key")
        self._entries.append(Entry(sequence=sequence, previous=previous, body=body, hash=line_hash(line)))
        self._lines.append(line)
        if isinstance(body, Reserve):
            self._open[sequence] = body

    def _check_order(self, body: Body) -> None:
        """Hold the entry against those before it: one GENESIS first; each charge is closed at most once."""
        if isinstance(body, Genesis) != (not self._entries):
            raise LedgerTampered("a ledger begins with its only GENESIS")
        if isinstance(body, Release | Abort):
            reserve = self._open.pop(body.reserve, None)
            if reserve is None or (reserve.run, reserve.round) != (body.run, body.round):
                raise LedgerTampered(
                    f"it closes entry {body.reserve}, which is not an open RESERVE of its round"
                )


def _open_envelope(line: str) -> tuple[dict[str, Any], bytes]:
    """Return a line's entry and signature, if the line is their only canonical form."""
    try:
        envelope = json.loads(line)
        canonical = rfc8785.dumps(envelope).decode("ascii")
    except (ValueError, RecursionError):  # rfc8785's errors are ValueErrors
        raise LedgerTampered("it is not canonical JSON") from None
    if canonical != line or not isinstance(envelope, dict) or set(envelope) != {"entry", "signature"}:
        raise LedgerTampered("it is not the canonical form of an entry and its signature")
    entry, signature = envelope["entry"], envelope["signature"]
    if not isinstance(entry, dict) or not isinstance(signature, str):
        raise LedgerTampered("it is not an entry with a signature")
    try:
        decoded = base64.b64decode(signature, validate=True)
    except binascii.Error:
        raise LedgerTampered("its signature is not base64") from None
    if base64.b64encode(decoded).decode("ascii") != signature:
        raise LedgerTampered("its signature is not canonical base64")
    return entry, decoded
