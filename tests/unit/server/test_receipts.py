"""The server's book: what it confirms, and what it refuses because it remembers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from common.errors import LedgerError, LedgerFork, LedgerTampered
from common.ledger import Amend, LedgerView, SigningKey, parse_lines
from common.protocol import TrainRequest
from common.run_folder import LedgerHome
from common.transparency.identity import log_name
from common.transparency.view import read_log
from server.receipts import ReceiptBook
from server.strategy import FedAvg
from tests.small_federation import MODEL, MadeUpClient, federation_settings

REQUEST = TrainRequest(
    run="run",
    round=1,
    arrays=MODEL,
    proposal=FedAvg(federation_settings(3), (0,)).proposal(0),
    server_nonce="c" * 64,
    known_entries=0,
)


@pytest.fixture
def home(tmp_path) -> LedgerHome:
    return LedgerHome(tmp_path / "home")


@pytest.fixture
def client() -> MadeUpClient:
    return MadeUpClient(0, 10, 1.0)


def view(client: MadeUpClient) -> LedgerView:
    return parse_lines(client.lines)


def trained(client: MadeUpClient, number: int = 1) -> LedgerView:
    request = replace(REQUEST, round=number)
    client.updated(request, client.update(MODEL))
    return view(client)


def enrolled(book: ReceiptBook, *clients: MadeUpClient) -> None:
    book.write(leaf for c in clients if (leaf := book.enrol(c.partition_id, view(c))))


def leaves(home: LedgerHome) -> list[dict]:
    return [json.loads(line) for line in (home.server / "log.jsonl").read_text().splitlines()]


def test_a_release_gets_a_receipt_that_its_ledger_accepts(home, client):
    with ReceiptBook.open(home) as book:
        enrolled(book, client)
        ledger = trained(client)
        assert book.deliveries(ledger) == ()
        book.confirm([ledger], "the round's line", "run", 1)
        (delivery,) = book.deliveries(ledger)
        client.keep((delivery,))
        assert book.deliveries(view(client)) == ()
    assert view(client).unconfirmed == set()
    assert [leaf["type"] for leaf in leaves(home)] == ["ENROL", "RECEIPT", "ROUND"]
    assert delivery.receipt.receipt.index == 1


def test_the_log_verifies_with_the_key_that_lies_beside_it(home, client):
    with ReceiptBook.open(home) as book:
        enrolled(book, client)
    public = SigningKey.load(home.server_key).public
    log = read_log(home.server, public, log_name(public))
    assert log.checkpoint.size == 1
    assert (home.server / "key.pub").read_text().startswith(log_name(public) + "+")


def test_confirming_again_gives_the_same_receipt(home, client):
    with ReceiptBook.open(home) as book:
        ledger = trained(client)
        book.confirm([ledger], "line", "run", 1)
        first = book.deliveries(ledger)
        book.confirm([ledger], "line", "run", 1)
        again = book.deliveries(ledger)
    assert [d.receipt for d in first] == [d.receipt for d in again]
    assert [leaf["type"] for leaf in leaves(home)] == ["RECEIPT", "ROUND", "ROUND"]


def test_confirming_again_a_release_whose_receipt_was_delivered_adds_none(home, client):
    with ReceiptBook.open(home) as book:
        book.confirm([trained(client)], "line", "run", 1)
        client.keep(book.deliveries(view(client)))
        book.confirm([view(client)], "line", "run", 1)
    assert [leaf["type"] for leaf in leaves(home)] == ["RECEIPT", "ROUND", "ROUND"]


def test_a_book_opened_again_remembers(home, client):
    with ReceiptBook.open(home) as book:
        enrolled(book, client)
        book.confirm([trained(client)], "line", "run", 1)
        before = book.deliveries(view(client))
    with ReceiptBook.open(home) as book:
        assert book.deliveries(view(client)) == before
        assert book.enrol(0, view(client)) is None
        book.check(0, view(client))


def test_two_processes_cannot_keep_one_book(home):
    with ReceiptBook.open(home), pytest.raises(LedgerError, match="in use by another process"):
        ReceiptBook.open(home)


def test_a_nonce_is_the_same_again_and_another_elsewhere(home):
    with ReceiptBook.open(home) as book:
        first = book.nonce("run", 1, "a" * 64)
        assert first == book.nonce("run", 1, "a" * 64)
        others = {
            book.nonce("run", 2, "a" * 64),
            book.nonce("r", 1, "a" * 64),
            book.nonce("run", 1, "b" * 64),
        }
    with ReceiptBook.open(LedgerHome(home.root / "other")) as book:
        others.add(book.nonce("run", 1, "a" * 64))
    assert len({first, *others}) == 5


def test_a_rollback_is_refused(home, client):
    older = view(client)
    with ReceiptBook.open(home) as book:
        enrolled(book, client)
        book.check(0, older)
        book.confirm([trained(client)], "line", "run", 1)
        book.check(0, view(client))
        with pytest.raises(LedgerFork, match="lacks its entry 2, for which it has a receipt"):
            book.check(0, older)
        with pytest.raises(LedgerFork):
            book.check(0, parse_lines(client.lines[:2]))


def test_a_fork_is_refused(home, client):
    fork = MadeUpClient(0, 10, 2.0, key=client.key)
    fork.lines[:] = list(client.lines)
    with ReceiptBook.open(home) as book:
        book.confirm([trained(client)], "line", "run", 1)
        trained(fork)
        trained(fork, 2)
        with pytest.raises(LedgerFork):
            book.check(0, view(fork))


def test_a_head_is_remembered_as_a_receipt_is(home, client):
    older = view(client)
    with ReceiptBook.open(home) as book:
        later = trained(client)
        leaf = book.head("run", later)
        assert leaf is not None
        book.write([leaf])
        assert book.head("run", later) is None
        with pytest.raises(LedgerFork):
            book.check(0, older)


def test_a_second_ledger_for_one_key_is_refused_in_a_later_run_too(home, client):
    second = MadeUpClient(5, 10, 1.0, key=client.key)
    with ReceiptBook.open(home) as book:
        enrolled(book, client)
    with ReceiptBook.open(home) as book, pytest.raises(LedgerFork, match="second one for the key or data"):
        book.check(5, view(second))


def test_a_second_ledger_for_one_data_set_is_refused(home, client):
    second = MadeUpClient(0, 10, 1.0)  # another key, and the commitment of the same records
    assert view(second).commitments == view(client).commitments
    with ReceiptBook.open(home) as book:
        enrolled(book, client)
        with pytest.raises(LedgerFork, match="one ledger for life"):
            book.check(1, view(second))


def test_a_client_that_shows_another_ledger_is_refused_in_a_later_run_too(home, client):
    fresh = MadeUpClient(5, 10, 1.0)  # another key, salt and commitment: nothing says whose images they are
    with ReceiptBook.open(home) as book:
        enrolled(book, client)
    with ReceiptBook.open(home) as book:
        book.check(1, view(fresh))
        with pytest.raises(LedgerFork, match="client 0 had ledger .* bring the first one"):
            book.check(0, view(fresh))


def test_a_data_set_that_grew_is_entered_again_and_stays_taken(home, client):
    other = MadeUpClient(3, 10, 1.0)
    with ReceiptBook.open(home) as book:
        enrolled(book, client)
        client.write(Amend(num_examples=12, commitment=view(other).commitments[0]))
        book.check(0, view(client))
        enrolled(book, client)
        with pytest.raises(LedgerFork):
            book.check(3, view(other))
    assert [leaf["num_examples"] for leaf in leaves(home)] == [10, 12]


def test_a_changed_log_is_not_continued(home, client):
    with ReceiptBook.open(home) as book:
        enrolled(book, client)
    log = home.server / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"num_examples":10', b'"num_examples":11'))
    with pytest.raises(LedgerTampered):
        ReceiptBook.open(home)
