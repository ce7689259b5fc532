"""Receipts as the client sees them: checked against the server's log, then kept in its own ledger."""

from __future__ import annotations

from common import canonical
from common.errors import LedgerTampered
from common.ledger import Acknowledged, Ledger, Release
from common.protocol import Delivery
from common.transparency.held import checkpoint_of, is_signed
from common.transparency.merkle import leaf_hash, verify_inclusion


def keep_receipts(ledger: Ledger, deliveries: tuple[Delivery, ...]) -> None:
    """Store receipts that the ledger lacks; one that it has already is passed over.

    Raises:
        LedgerTampered: when a receipt is not for this ledger, or not in a log that its server signed.
    """
    for delivery in deliveries:
        sequence = delivery.receipt.receipt.sequence
        if sequence in ledger.view.unconfirmed:
            _check_logged(delivery)
            ledger.append(
                Acknowledged(release=sequence, receipt=delivery.receipt, checkpoint=delivery.checkpoint)
            )
        else:
            _refuse_unknown(ledger, sequence)


def _refuse_unknown(ledger: Ledger, sequence: int) -> None:
    entries = ledger.view.entries
    if sequence >= len(entries) or not isinstance(entries[sequence].body, Release):
        raise LedgerTampered(f"the server sent a receipt for entry {sequence}, which is no RELEASE of ours")


def _check_logged(delivery: Delivery) -> None:
    """Check that the server's log, in the state that it signed, holds the receipt."""
    receipt, held = delivery.receipt.receipt, delivery.checkpoint
    if not is_signed(held, receipt.server_key, receipt.origin):
        raise LedgerTampered("the server sent a receipt with a state of its log that it did not sign")
    leaf = canonical.dumps({"type": "RECEIPT", **delivery.receipt.to_json()})
    proof = _hashes(delivery.proof)
    root = checkpoint_of(held, receipt.origin).root
    if not verify_inclusion(
        index=receipt.index, size=held.size, leaf=leaf_hash(leaf), proof=proof, root=root
    ):
        raise LedgerTampered("the server sent a receipt that its own log does not hold")


def _hashes(proof: tuple[str, ...]) -> list[bytes]:
    try:
        return [bytes.fromhex(step) for step in proof]
    except ValueError:
        raise LedgerTampered("the server sent a receipt with a proof that is not hashes") from None
