"""Receipts: the server's signature under a client's RELEASE, which neither side can take back."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any

from common import canonical
from common.errors import LedgerError
from common.ledger.fields import HASH, SIGNATURE, Fields, as_fields
from common.ledger.keys import RECEIPT, SigningKey, verify

ORIGIN = re.compile("[a-z0-9][a-z0-9./-]{0,79}")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a server confirms: that it accepted the RELEASE with this hash, at this place of this ledger.

    Args:
        origin: name of the server's log.
        server_key: Ed25519 key of the server, 32 bytes.
        index: number of the receipt's leaf in the server's log, from 0.
        ledger_id: the ledger's identity.
        sequence: number of the RELEASE in the ledger.
        entry: SHA-256 (hex) of the RELEASE's line; it stands for every entry before it.
        run: the run's id.
        round: the round, from 1.
    """

    origin: str
    server_key: bytes
    index: int
    ledger_id: str
    sequence: int
    entry: str
    run: str
    round: int

    def to_json(self) -> dict[str, Any]:
        """Return the signed fields."""
        return {
            "origin": self.origin,
            "server_key": base64.b64encode(self.server_key).decode("ascii"),
            "index": self.index,
            "ledger_id": self.ledger_id,
            "sequence": self.sequence,
            "entry": self.entry,
            "run": self.run,
            "round": self.round,
        }

    def sign(self, key: SigningKey) -> SignedReceipt:
        """Sign the receipt with the server's key, which must be the one that it names."""
        signature = key.sign(canonical.dumps(self.to_json()), RECEIPT)
        return SignedReceipt(receipt=self, signature=signature)


@dataclass(frozen=True, kw_only=True)
class SignedReceipt:
    """A receipt with its signature, 64 bytes."""

    receipt: Receipt
    signature: bytes

    @property
    def genuine(self) -> bool:
        """Whether the signature is that of the server key that the receipt names."""
        payload = canonical.dumps(self.receipt.to_json())
        return verify(self.receipt.server_key, payload, self.signature, RECEIPT)

    def to_json(self) -> dict[str, Any]:
        """Return the receipt's form in JSON, in messages, ledgers and logs alike."""
        signature = base64.b64encode(self.signature).decode("ascii")
        return {"receipt": self.receipt.to_json(), "signature": signature}


def receipt_from_json(value: object) -> SignedReceipt:
    """Read what `SignedReceipt.to_json` wrote, and nothing else; the signature is not checked.

    Raises:
        LedgerError: names the field that is missing, unknown or out of range.
    """
    outer = as_fields(value, "the receipt")
    fields = as_fields(outer.value.get("receipt"), "the receipt")
    signed = SignedReceipt(receipt=_read(fields), signature=outer.base64("signature", SIGNATURE))
    if signed.to_json() != dict(outer.value):
        raise LedgerError("the receipt has an unknown field")
    return signed


def _read(fields: Fields) -> Receipt:
    return Receipt(
        origin=fields.text("origin", ORIGIN),
        server_key=fields.key("server_key"),
        index=fields.integer("index", least=0),
        ledger_id=fields.text("ledger_id", HASH),
        sequence=fields.integer("sequence", least=1),
        entry=fields.text("entry", HASH),
        run=fields.text("run"),
        round=fields.integer("round", least=1),
    )


@dataclass(frozen=True, kw_only=True)
class HeldCheckpoint:
    """The state of the server's log when it gave a receipt: a later log must contain it.

    Args:
        size: number of leaves.
        root: SHA-256 (hex) of the Merkle tree over them.
        signature: the server's, over the note that states both; 64 bytes.
    """

    size: int
    root: str
    signature: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the checkpoint's form in JSON."""
        signature = base64.b64encode(self.signature).decode("ascii")
        return {"size": self.size, "root": self.root, "signature": signature}


def checkpoint_from_json(value: object) -> HeldCheckpoint:
    """Read what `HeldCheckpoint.to_json` wrote, and nothing else.

    Raises:
        LedgerError: names the field that is missing, unknown or out of range.
    """
    fields = as_fields(value, "the checkpoint")
    held = HeldCheckpoint(
        size=fields.integer("size", least=1),
        root=fields.text("root", HASH),
        signature=fields.base64("signature", SIGNATURE),
    )
    if held.to_json() != dict(fields.value):
        raise LedgerError("the checkpoint has an unknown field")
    return held
