"""What a server's log holds: who takes part, what was confirmed, what each round was, how ledgers stood."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from common.ledger.fields import HASH, Fields, as_fields
from common.ledger.receipts import SignedReceipt, receipt_from_json


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """A ledger joined the federation, or came back with another key or data set: it is the only one for them.

    Args:
        ledger_id: the ledger's identity.
        partition_id: the client's number.
        genesis: SHA-256 (hex) of the ledger's first line.
        public_key: the key that signed its next entry, as of the enrolment, 32 bytes.
        commitment: to the data set, as of the enrolment.
        num_examples: public size n, as of the enrolment.
    """

    ledger_id: str
    partition_id: int
    genesis: str
    public_key: bytes
    commitment: str
    num_examples: int


@dataclass(frozen=True, kw_only=True)
class LoggedRound:
    """A round is over, and this is the SHA-256 (hex) of its line in rounds.jsonl, without the newline."""

    run: str
    round: int
    record: str


@dataclass(frozen=True, kw_only=True)
class LoggedHead:
    """How far a ledger was when a run ended: its number of entries, and the SHA-256 (hex) of the last one."""

    run: str
    ledger_id: str
    entries: int
    head: str


Leaf = Enrolment | SignedReceipt | LoggedRound | LoggedHead


def leaf_to_json(leaf: Leaf) -> dict[str, Any]:
    """Give a leaf its form in JSON, with its type."""
    match leaf:
        case Enrolment():
            key = base64.b64encode(leaf.public_key).decode("ascii")
            return {"type": "ENROL", **vars(leaf), "public_key": key}
        case SignedReceipt():
            return {"type": "RECEIPT", **leaf.to_json()}
        case LoggedRound():
            return {"type": "ROUND", **vars(leaf)}
        case LoggedHead():
            return {"type": "HEAD", **vars(leaf)}


def leaf_from_json(value: Mapping[str, Any]) -> Leaf | None:
    """Read a leaf; fields that a later version adds are passed over.

    Returns:
        The leaf, or None where its type is not one that is known here.

    Raises:
        LedgerError: names the field that is missing or out of range.
    """
    kind = value.get("type")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    return read(as_fields(value, "the leaf")) if read else None


def _read_enrolment(fields: Fields) -> Enrolment:
    return Enrolment(
        ledger_id=fields.text("ledger_id", HASH),
        partition_id=fields.integer("partition_id", least=0),
        genesis=fields.text("genesis", HASH),
        public_key=fields.key(),
        commitment=fields.text("commitment", HASH),
        num_examples=fields.integer("num_examples", least=1),
    )


def _read_receipt(fields: Fields) -> SignedReceipt:
    held = {name: fields.value[name] for name in ("receipt", "signature") if name in fields.value}
    return receipt_from_json(held)


def _read_round(fields: Fields) -> LoggedRound:
    return LoggedRound(
        run=fields.text("run"), round=fields.integer("round", least=1), record=fields.text("record", HASH)
    )


def _read_head(fields: Fields) -> LoggedHead:
    return LoggedHead(
        run=fields.text("run"),
        ledger_id=fields.text("ledger_id", HASH),
        entries=fields.integer("entries", least=1),
        head=fields.text("head", HASH),
    )


_READERS: dict[str, Callable[[Fields], Leaf]] = {
    "ENROL": _read_enrolment,
    "RECEIPT": _read_receipt,
    "ROUND": _read_round,
    "HEAD": _read_head,
}
