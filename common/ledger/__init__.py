"""A client's ledger: entries that are signed, chained, durable, and never taken back."""

from common.ledger.chain import Entry, LedgerView, parse_lines, read_ledger
from common.ledger.entries import Abort, Body, Genesis, Release, Reserve
from common.ledger.keys import SigningKey
from common.ledger.store import Ledger

__all__ = [
    "Abort",
    "Body",
    "Entry",
    "Genesis",
    "Ledger",
    "LedgerView",
    "Release",
    "Reserve",
    "SigningKey",
    "parse_lines",
    "read_ledger",
]
