"""What a ledger's order has to be, said a second time and in another way than its reader does.

Everything is read from the text with the standard library; nothing of `common.ledger` is used but its keys.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from benchmarks.fuzz.histories import KEYS
from common.ledger.keys import KEY, RECEIPT, verify


@dataclass(kw_only=True)
class Model:
    """How a ledger stands, entry by entry.

    Args:
        charges: number of RESERVEs.
        key: signs the next entry.
        signer: signed the last one.
        closed: numbers of the charges that are over.
        confirmed: numbers of the RELEASEs that have a receipt.
    """

    entries: list[dict[str, Any]] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    key: bytes = b""
    signer: bytes = b""
    charges: int = 0
    mechanisms: int = 0
    num_examples: int = 0
    commitments: list[str] = field(default_factory=list)
    closed: set[int] = field(default_factory=set)
    confirmed: set[int] = field(default_factory=set)

    def take(self, line: str) -> str:
        """Add a line; return what is unlawful about it, or nothing."""
        value = json.loads(line)
        entry, signature = value["entry"], base64.b64decode(value["signature"])
        number = len(self.entries)
        before = self.hashes[-1] if self.hashes else "0" * 64
        if (entry["format"], entry["sequence"], entry["previous"]) != ("fedledger/1", number, before):
            return "chain"
        if fault := self._disorder(entry, number):
            return fault
        self.signer = base64.b64decode(entry["public_key"]) if number == 0 else self.key
        if self.signer in KEYS and KEYS[self.signer].sign(_canonical(entry)) != signature:
            return "signature"
        self._note(entry, number)
        self.entries.append(entry)
        self.hashes.append(hashlib.sha256(line.encode()).hexdigest())
        return ""

    def _disorder(self, entry: dict[str, Any], number: int) -> str:
        kind = entry["type"]
        if (kind == "GENESIS") != (number == 0):
            return "order: GENESIS"
        if kind in {"RELEASE", "ABORT"}:
            return self._check_closing(entry, number)
        if kind == "RECEIPT":
            return self._check_receipt(entry, number)
        if kind == "KEY_ROTATE":
            change = {"ledger_id": self.entries[0]["ledger_id"], "sequence": number}
            key, proof = (base64.b64decode(entry[name]) for name in ("public_key", "proof"))
            return "" if verify(key, _canonical(change), proof, KEY) else "proof"
        return ""

    def _check_closing(self, entry: dict[str, Any], number: int) -> str:
        charge = entry["reserve"]
        if not 0 < charge < number or charge in self.closed or self.entries[charge]["type"] != "RESERVE":
            return "order: closing"
        same = all(self.entries[charge][name] == entry[name] for name in ("run", "round"))
        return "" if same else "order: closing"

    def _check_receipt(self, entry: dict[str, Any], number: int) -> str:
        release, receipt = entry["release"], entry["receipt"]
        if (
            not 0 < release < number
            or release in self.confirmed
            or self.entries[release]["type"] != "RELEASE"
        ):
            return "order: receipt"
        wanted = {name: self.entries[release][name] for name in ("run", "round")}
        wanted |= {
            "ledger_id": self.entries[0]["ledger_id"],
            "sequence": release,
            "entry": self.hashes[release],
        }
        if any(receipt[name] != value for name, value in wanted.items()):
            return "receipt"
        server = KEYS.get(base64.b64decode(receipt["server_key"]))
        signature = server.sign(_canonical(receipt), RECEIPT) if server else b""
        right = signature == base64.b64decode(entry["signature"])
        return "" if right and entry["checkpoint"]["size"] > receipt["index"] else "receipt"

    def _note(self, entry: dict[str, Any], number: int) -> None:
        kind = entry["type"]
        if kind in {"GENESIS", "KEY_ROTATE"}:
            self.key = base64.b64decode(entry["public_key"])
        if kind in {"GENESIS", "AMEND"}:
            self.num_examples = entry["num_examples"]
            self.commitments.append(entry["commitment"])
        if kind == "RESERVE":
            self.charges += 1
            self.mechanisms += len(entry["mechanisms"])
        if kind in {"RELEASE", "ABORT"}:
            self.closed.add(entry["reserve"])
        if kind == "RECEIPT":
            self.confirmed.add(entry["release"])

    def open_charges(self) -> set[int]:
        """Return the numbers of the charges that are not over."""
        return {n for n, entry in enumerate(self.entries) if entry["type"] == "RESERVE"} - self.closed

    def unconfirmed(self) -> set[int]:
        """Return the numbers of the RELEASEs without a receipt."""
        return {n for n, entry in enumerate(self.entries) if entry["type"] == "RELEASE"} - self.confirmed


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
