"""What a ledger's later life brings: a changed data set, receipts, another key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import LedgerError, LedgerTampered
from common.ledger import Acknowledged, Amend, KeyRotate, Ledger, Release, SigningKey, read_ledger
from common.ledger.commitment import commit, load_salt, new_salt, save_salt
from common.ledger.entry_json import body_from_json, body_to_json
from common.ledger.lines import write_line
from common.ledger.receipts import HeldCheckpoint, Receipt, SignedReceipt

SERVER = SigningKey.generate()


@pytest.fixture
def released(ledger, reserve) -> Ledger:
    ledger.append(reserve(1))
    ledger.append(Release(run="run-1", round=1, reserve=1, update="b" * 64))
    return ledger


def receipt_for(ledger: Ledger, **changes) -> Acknowledged:
    entry = ledger.view.entries[2]
    receipt = Receipt(
        origin="server.example/log",
        server_key=SERVER.public,
        index=4,
        ledger_id=ledger.view.genesis.ledger_id,
        sequence=2,
        entry=entry.hash,
        run="run-1",
        round=1,
    )
    signed = replace(receipt, **changes).sign(SERVER)
    return Acknowledged(
        release=2, receipt=signed, checkpoint=HeldCheckpoint(size=5, root="f" * 64, signature=bytes(64))
    )


def test_a_receipt_confirms_a_release_once(released, path):
    assert released.view.unconfirmed == {2}
    released.append(receipt_for(released))
    assert released.view.unconfirmed == set()
    assert read_ledger(path) == released.view
    with pytest.raises(LedgerTampered, match="not a RELEASE without a receipt") as caught:
        released.append(receipt_for(released))
    assert caught.value.flaw == "entry-out-of-order"


@pytest.mark.parametrize(
    "change", [{"entry": "0" * 64}, {"sequence": 1}, {"ledger_id": "0" * 64}, {"run": "run-2"}, {"round": 2}]
)
def test_a_receipt_for_another_entry_is_refused(released, change):
    with pytest.raises(LedgerTampered, match="for another entry") as caught:
        released.append(receipt_for(released, **change))
    assert caught.value.flaw == "receipt-wrong"


def test_a_receipt_must_be_signed_by_the_server_that_it_names(released):
    good = receipt_for(released)
    for receipt in (
        SignedReceipt(receipt=good.receipt.receipt, signature=bytes(64)),
        replace(good.receipt.receipt, server_key=SigningKey.generate().public).sign(SERVER),
        SignedReceipt(receipt=replace(good.receipt.receipt, index=3), signature=good.receipt.signature),
    ):
        with pytest.raises(LedgerTampered, match="not signed by the server") as caught:
            released.append(replace(good, receipt=receipt))
        assert caught.value.flaw == "receipt-wrong"


def test_a_receipt_lies_in_the_log_whose_state_comes_with_it(released):
    early = HeldCheckpoint(size=4, root="f" * 64, signature=bytes(64))
    with pytest.raises(LedgerTampered, match="receipt"):
        released.append(replace(receipt_for(released), checkpoint=early))


def test_after_a_rotation_only_the_new_key_signs(ledger, key, path, reserve):
    new = SigningKey.generate()
    ledger.rotate(new)
    ledger.append(reserve(1))
    assert read_ledger(path).public_key == new.public
    assert Ledger.open(path, new).view == ledger.view
    with pytest.raises(LedgerTampered, match="another key"):
        Ledger.open(path, key)
    line = write_line(reserve(2), sequence=3, previous=ledger.view.head, key=key)
    with pytest.raises(LedgerTampered, match="entry 3: its signature"):
        ledger.view.extend([line])


def test_nobody_rotates_to_a_key_that_is_not_theirs(ledger):
    identity = ledger.view.genesis.ledger_id
    others, mine = SigningKey.generate(), SigningKey.generate()
    stolen = KeyRotate(public_key=others.public, proof=KeyRotate.to(mine, identity, 1).proof)
    for bad in (stolen, KeyRotate.to(mine, identity, 2), KeyRotate.to(mine, "0" * 64, 1)):
        with pytest.raises(LedgerTampered, match="did not sign its own") as caught:
            ledger.append(bad)
        assert caught.value.flaw == "signature-wrong"


def test_an_amendment_changes_the_size_and_keeps_what_was_spent(released):
    before = released.view.mechanisms()
    released.append(Amend(num_examples=120, commitment="9" * 64))
    assert released.view.num_examples == 120
    assert released.view.genesis.num_examples == 100
    assert released.view.commitments == ("e" * 64, "9" * 64)
    assert released.view.mechanisms() == before


def test_every_kind_round_trips(released):
    for body in (
        receipt_for(released),
        Amend(num_examples=3, commitment="9" * 64),
        KeyRotate.to(SERVER, "0" * 64, 7),
    ):
        assert body_from_json(body_to_json(body)) == body


def test_a_commitment_depends_on_salt_records_and_size(tmp_path):
    salt, path = new_salt(), tmp_path / "keys" / "client-0.salt"
    save_salt(path, salt)
    assert load_salt(path) == salt
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LedgerError, match="never overwritten"):
        save_salt(path, bytes(32))
    seen = {
        commit(salt=one, digest=digest, num_examples=n)
        for one in (salt, bytes(32))
        for digest in (bytes(32), b"\1" * 32)
        for n in (5, 6)
    }
    assert len(seen) == 8
