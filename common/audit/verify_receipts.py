"""Hold the receipts in ledgers against the server's log, and the log against what clients saw of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from common.audit.findings import Finding, error, note, warning
from common.audit.history import Charge, ClientLedger
from common.audit.records import RunRecords
from common.audit.server_records import ServerRecords
from common.audit.verify_log import LOG
from common.ledger import Acknowledged
from common.ledger.receipts import HeldCheckpoint
from common.transparency.held import checkpoint_of, is_signed
from common.words import counted


@dataclass(frozen=True)
class _Held:
    """A state of a log that a ledger holds; equal ones are looked at once, however many ledgers hold them."""

    server_key: bytes
    origin: str
    checkpoint: HeldCheckpoint


def check_receipts(records: RunRecords, ledgers: Sequence[ClientLedger], run: str) -> Iterator[Finding]:
    """Yield receipts that are missing, that the log does not hold, and states that the log no longer has."""
    first: dict[_Held, str] = {}
    for ledger in ledgers:
        receipts = ledger.receipts()
        for sequence, body in receipts:
            receipt = body.receipt.receipt
            held = _Held(receipt.server_key, receipt.origin, body.checkpoint)
            first.setdefault(held, ledger.at(sequence))
        if isinstance(records.server, ServerRecords):
            yield from _logged(ledger, receipts, records.server, run)
        if receipts or records.server is not None:
            yield from _missing(records, ledger, run)
    genuine = {held: where for held, where in first.items() if _signed(held)}
    for held in first.keys() - genuine.keys():
        text = "A ledger holds a state of the server's log that the server did not sign."
        yield error("held-checkpoint-wrong", text, first[held])
    if isinstance(records.server, ServerRecords):
        yield from _rolled_back(genuine, records.server)
    else:
        yield from _split(genuine)


def _logged(
    ledger: ClientLedger, receipts: Iterable[tuple[int, Acknowledged]], server: ServerRecords, run: str
) -> Iterator[Finding]:
    """Yield the first receipt that another server signed, and the first that is not where it says."""
    seen: set[str] = set()
    for sequence, body in receipts:
        receipt, where = body.receipt.receipt, ledger.at(sequence)
        other = (receipt.server_key, receipt.origin) != (server.public_key, server.origin)
        code = "receipt-by-other-server" if other else "receipt-not-in-log"
        if code in seen or (not other and server.leaves.get(receipt.index) == body.receipt):
            continue
        seen.add(code)
        if other:
            kind = error if receipt.run == run else note
            text = f"Client {ledger.partition_id} holds a receipt that another server signed."
            yield kind(code, text, where)
        else:
            text = f"Client {ledger.partition_id} holds a receipt that is not in the server's log."
            yield error(code, text, where)


def _missing(records: RunRecords, ledger: ClientLedger, run: str) -> Iterator[Finding]:
    """Yield that updates which counted were not confirmed; the last one's receipt may still be on its way."""
    unconfirmed = [
        c for c in ledger.charges if c.release is not None and c.release in ledger.view.unconfirmed
    ]
    counted_updates = {(entry.round, entry.updates.get(ledger.partition_id)) for entry in records.rounds}
    last = {charge.body.run: charge.release for charge in ledger.charges if charge.release is not None}

    def used(charge: Charge) -> bool:
        return charge.body.run == run and (charge.body.round, charge.update) in counted_updates

    lost = [charge for charge in unconfirmed if used(charge) and charge.release != last[charge.body.run]]
    due = [charge for charge in unconfirmed if charge not in lost and (used(charge) or not records.rounds)]
    if lost:
        text = (
            f"Client {ledger.partition_id} has no receipt for {counted(len(lost), 'update')} that counted, "
            "although it was asked for more since."
        )
        yield warning("receipt-missing", text, ledger.entry(lost[0]))
    if due:
        text = (
            f"Client {ledger.partition_id} has no receipt yet for {counted(len(due), 'update')}; it comes "
            "with the server's next message."
        )
        yield note("receipt-missing", text, ledger.entry(due[0]))


def _signed(held: _Held) -> bool:
    return is_signed(held.checkpoint, held.server_key, held.origin)


def _rolled_back(genuine: dict[_Held, str], server: ServerRecords) -> Iterator[Finding]:
    """Yield the largest state that the log no longer reaches, and the first that it contradicts."""
    own = [held for held in genuine if (held.server_key, held.origin) == (server.public_key, server.origin)]
    ordered = sorted(own, key=lambda held: held.checkpoint.size)
    size = len(server.view.lines)
    if ordered and (last := ordered[-1]).checkpoint.size > size:
        yield error(
            "log-rollback",
            f"The server's log has {counted(size, 'leaf', 'leaves')}, but a client saw it with "
            f"{last.checkpoint.size}: it was put back to an older state.",
            f"{LOG} and {genuine[last]}",
        )
    for held in ordered:
        if held.checkpoint.size <= size and not server.view.contains(
            checkpoint_of(held.checkpoint, held.origin)
        ):
            yield error(
                "log-rollback",
                f"The first {counted(held.checkpoint.size, 'leaf', 'leaves')} of the server's log are not "
                "those that a client saw: it was put back to an older state and written anew.",
                f"{LOG} and {genuine[held]}",
            )
            return


def _split(genuine: dict[_Held, str]) -> Iterator[Finding]:
    """Yield that a server showed two clients logs of one size and different content."""
    roots: dict[tuple[bytes, str, int], str] = {}
    for held, where in genuine.items():
        log = (held.server_key, held.origin, held.checkpoint.size)
        if roots.setdefault(log, held.checkpoint.root) != held.checkpoint.root:
            text = "The server showed clients different logs of one length: one of them is not the truth."
            yield error("log-split", text, where)
            return
