"""A client's ledger: entries that are signed, chained, durable, and never taken back."""

from common.ledger.chain import Entry, LedgerView, parse_lines, read_ledger
from common.ledger.entries import Abort, Acknowledged, Amend, Body, Genesis, KeyRotate, Release, Reserve
from common.ledger.keys import SigningKey
from common.ledger.store import Ledger

__all__ = [
    "Abort",
    "Acknowledged",
    "Amend",
    "Body",
    "Entry",
    "Genesis",
    "KeyRotate",
    "Ledger",
    "LedgerView",
    "Release",
    "Reserve",
    "SigningKey",
    "parse_lines",
    "read_ledger",
]
