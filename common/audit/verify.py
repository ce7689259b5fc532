"""Hold what was left behind in one place against what is said in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from common.audit.findings import Finding, error, warning
from common.audit.history import ClientLedger
from common.audit.ledger_files import DamagedLedger, number_of
from common.audit.records import RunRecords
from common.audit.verify_entries import check_entries, check_nonces, check_programs
from common.audit.verify_ledger import check_ledger
from common.audit.verify_log import check_log
from common.audit.verify_receipts import check_receipts
from common.audit.verify_rounds import check_results, check_rounds

_WHAT = {
    "ledger-torn": "does not end with a complete entry",
    "entry-not-canonical": "holds an entry that is not in the one agreed form",
    "chain-broken": "holds an entry that does not follow the one before it",
    "entry-malformed": "holds an entry that no client writes",
    "entry-out-of-order": "holds an entry that cannot stand at its place",
    "signature-wrong": "holds an entry that is not signed with its key",
    "receipt-wrong": "holds a receipt that does not fit",
}


def check(records: RunRecords, ledgers: Sequence[ClientLedger], run: str) -> Iterator[Finding]:
    """Yield everything that is wrong or worth knowing, except what needs an epsilon."""
    yield from _damaged(records)
    yield from _shared_ledgers(ledgers)
    if records.subject == "run":
        yield from check_rounds(records, ledgers, run)
    for ledger in ledgers:
        yield from check_entries(ledger)
        yield from check_ledger(ledger, records, run)
    yield from check_nonces(ledgers)
    yield from check_programs(ledgers, run)
    yield from check_log(records, ledgers, run)
    yield from check_receipts(records, ledgers, run)
    if records.config is not None:
        yield from check_results(records, records.config)


def _damaged(records: RunRecords) -> Iterator[Finding]:
    for ledger in records.damaged:
        yield _damage(ledger)
    for name in records.stray_ledgers:
        yield warning(
            "stray-ledger",
            "A file among the ledgers belongs to no client; it was not counted.",
            name,
        )


def _damage(ledger: DamagedLedger) -> Finding:
    where = ledger.place if ledger.entry is None else f"{ledger.place} entry {ledger.entry}"
    who = f"The ledger of client {ledger.partition_id}"
    if number_of(Path(ledger.place)) is None:
        who = f"The ledger {ledger.place}"
    what = _WHAT.get(ledger.flaw)
    if what is None:
        return error("ledger-unreadable", f"{who} cannot be read: {ledger.reason}.", where)
    return error(ledger.flaw, f"{who} {what}: {ledger.reason}.", where)


def _shared_ledgers(ledgers: Sequence[ClientLedger]) -> Iterator[Finding]:
    owners: dict[str, int] = {}
    for ledger in ledgers:
        owner = owners.setdefault(ledger.view.genesis.ledger_id, ledger.partition_id)
        if owner != ledger.partition_id:
            yield error(
                "ledger-shared",
                f"Clients {owner} and {ledger.partition_id} present one and the same ledger.",
                ledger.place,
            )
