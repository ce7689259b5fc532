"""Judging ledger files: verified, damaged (and where), or not readable."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigError, LedgerError, LedgerTampered
from common.ledger.chain import LedgerView, read_ledger
from common.ledger.display import key_record
from common.ledger.entries import Acknowledged, Genesis, KeyRotate
from common.ledger.fields import HASH, PUBLIC_KEY
from common.ledger.keys import fingerprint
from common.transparency.held import is_signed
from common.words import counted

VERIFIED, DAMAGED, UNREADABLE = 0, 1, 2
"""Exit statuses, which rank what can be the matter with a file."""

_FINGERPRINT = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What somebody knows of a ledger beforehand, in the forms that ledgers and commands print.

    Args:
        head: SHA-256 (hex) of a line that the ledger must contain, usually an earlier head of it.
        key: a key that it must be or have been signed by: in base64, or the fingerprint.

    Raises:
        ConfigError: when one of them is of no such form.
    """

    head: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if self.head is not None and not HASH.fullmatch(self.head):
            raise ConfigError(
                f"--expect-head is {self.head!r:.80}: give the 64 hexadecimal digits "
                "that `fedledger ledger verify` prints"
            )
        forms = (PUBLIC_KEY, _FINGERPRINT)
        if self.key is not None and not any(form.fullmatch(self.key) for form in forms):
            raise ConfigError(
                f"--expect-key is {self.key!r:.80}: give the key in base64 or its fingerprint, "
                "as `fedledger keys show` prints them"
            )


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a ledger file turned out to be.

    Args:
        status: one of VERIFIED, DAMAGED, UNREADABLE.
        message: the reason in one line, empty where it is verified.
        flaw: kind of the damage, as audits name it.
        entry: number of the first entry that shows the damage, where one does.
        view: the verified ledger.
        since: number of entries after the expected head.
    """

    file: Path
    status: int
    message: str = ""
    flaw: str | None = None
    entry: int | None = None
    view: LedgerView | None = None
    since: int | None = None

    def __str__(self) -> str:
        if self.status == UNREADABLE:
            return self.message
        if self.view is None:
            return f"{self.file}: damaged, {self.flaw}: {self.message.removeprefix(f'{self.file} ')}"
        view = self.view
        since = f", {self.since} after the expected head" if self.since else ""
        return (
            f"{self.file}: verified, {_entries(view)}{since}, n {view.num_examples}, "
            f"{counted(len(view.reservations()), 'charge')}, {counted(_receipts(view), 'receipt')}, "
            f"key {fingerprint(view.public_key)}, head {view.head}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the judgement for programs."""
        names = {VERIFIED: "verified", DAMAGED: "damaged", UNREADABLE: "unreadable"}
        record: dict[str, Any] = {"file": str(self.file), "status": names[self.status]}
        if self.view is None:
            return record | {"flaw": self.flaw, "entry": self.entry, "message": self.message}
        view = self.view
        return record | {
            "ledger_id": view.genesis.ledger_id,
            "entries": len(view.entries),
            "head": view.head,
            "since_expected_head": self.since,
            **key_record(view.public_key),
            "num_examples": view.num_examples,
            "charges": len(view.reservations()),
            "receipts": _receipts(view),
            "unconfirmed": sorted(view.unconfirmed),
        }


def judge(file: Path, expected: Expected) -> Judgement:
    """Verify a file: its chain, signatures and receipts, and that it is what was expected."""
    try:
        view = read_ledger(file)
        _check_checkpoints(view)
        since = _since(view, expected.head)
        _check_key(view, expected.key)
    except LedgerTampered as error:
        return Judgement(file=file, status=DAMAGED, message=str(error), flaw=error.flaw, entry=error.entry)
    except LedgerError as error:
        return Judgement(file=file, status=UNREADABLE, message=str(error))
    return Judgement(file=file, status=VERIFIED, view=view, since=since)


def _check_checkpoints(view: LedgerView) -> None:
    """Hold every receipt's state of the server's log to the key that signed the receipt."""
    for entry in view.entries:
        if isinstance(entry.body, Acknowledged):
            receipt = entry.body.receipt.receipt
            if not is_signed(entry.body.checkpoint, receipt.server_key, receipt.origin):
                raise LedgerTampered(
                    f"entry {entry.sequence}: its checkpoint is not signed by the server of its receipt",
                    flaw="receipt-wrong",
                    entry=entry.sequence,
                )


def _since(view: LedgerView, head: str | None) -> int | None:
    """Return how many entries follow the expected head."""
    if head is None:
        return None
    for number, entry in enumerate(reversed(view.entries)):
        if entry.hash == head:
            return number
    raise LedgerTampered(
        f"none of its {_entries(view)} is the expected head {head}: it is an earlier state, or "
        "another ledger, so ask for the newest copy",
        flaw="head-missing",
    )


def _check_key(view: LedgerView, key: str | None) -> None:
    """Look for the expected key among all that ever signed: a rotation is signed by the key before it."""
    if key is None:
        return
    signers = [entry.body.public_key for entry in view.entries if isinstance(entry.body, Genesis | KeyRotate)]
    if not any(key in (fingerprint(signer), base64.b64encode(signer).decode("ascii")) for signer in signers):
        raise LedgerTampered(
            f"it is signed by the key {fingerprint(view.public_key)}, and never was by the expected {key}: "
            "it is another client's, or a forgery",
            flaw="key-unexpected",
        )


def _receipts(view: LedgerView) -> int:
    return sum(isinstance(entry.body, Acknowledged) for entry in view.entries)


def _entries(view: LedgerView) -> str:
    return counted(len(view.entries), "entry", "entries")
