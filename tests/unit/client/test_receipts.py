"""A client stores receipts that are true, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client.receipts import keep_receipts
from common.errors import LedgerTampered
from common.ledger import Genesis, Ledger, SigningKey
from common.protocol import TrainRequest
from common.run_folder import LedgerHome
from server.receipts import ReceiptBook
from server.strategy import FedAvg
from tests.small_federation import MODEL, MadeUpClient, federation_settings


@pytest.fixture
def made_up() -> MadeUpClient:
    client = MadeUpClient(0, 10, 1.0)
    request = TrainRequest(
        run="run",
        round=1,
        arrays=MODEL,
        proposal=FedAvg(federation_settings(3), (0,)).proposal(0),
        server_nonce="c" * 64,
        known_entries=0,
    )
    client.updated(request, client.update(MODEL))
    return client


@pytest.fixture
def ledger(made_up, tmp_path) -> Ledger:
    path = tmp_path / "ledger.jsonl"
    path.write_text("".join(line + "\n" for line in made_up.lines))
    return Ledger.open(path, made_up.key)


@pytest.fixture
def delivery(ledger, tmp_path):
    with ReceiptBook.open(LedgerHome(tmp_path / "server")) as book:
        book.confirm([ledger.view], "line", "run", 1)
        (delivery,) = book.deliveries(ledger.view)
    return delivery


def test_a_true_receipt_is_stored_once(ledger, delivery):
    keep_receipts(ledger, (delivery,))
    assert ledger.view.unconfirmed == set()
    entries = len(ledger.view.entries)
    keep_receipts(ledger, (delivery, delivery))
    assert len(ledger.view.entries) == entries == 4


def test_a_receipt_outside_the_signed_log_is_refused(ledger, delivery):
    checkpoint = delivery.checkpoint
    for bad in (
        replace(delivery, checkpoint=replace(checkpoint, signature=bytes(64))),
        replace(delivery, checkpoint=replace(checkpoint, size=checkpoint.size + 1)),
        replace(delivery, checkpoint=replace(checkpoint, root="0" * 64)),
        replace(delivery, proof=()),
        replace(delivery, proof=("0" * 64,)),
        replace(delivery, proof=("no hash",)),
    ):
        with pytest.raises(LedgerTampered, match="the server sent a receipt"):
            keep_receipts(ledger, (bad,))
    assert len(ledger.view.entries) == 3


def test_a_receipt_for_something_else_is_refused(ledger, delivery, tmp_path):
    key = SigningKey.generate()
    terms = {"delta": 1e-5, "budget_epsilon": 8.0, "num_examples": 10, "commitment": "e" * 64}
    other = Ledger.create(tmp_path / "other.jsonl", key, Genesis.new(key, **terms))
    with pytest.raises(LedgerTampered, match="entry 2, which is no RELEASE of ours"):
        keep_receipts(other, (delivery,))


def test_a_receipt_that_was_changed_is_refused(ledger, delivery):
    receipt = replace(delivery.receipt.receipt, index=1)
    forged = replace(delivery, receipt=replace(delivery.receipt, receipt=receipt))
    with pytest.raises(LedgerTampered):
        keep_receipts(ledger, (forged,))
