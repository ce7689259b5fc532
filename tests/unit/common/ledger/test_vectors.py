"""The test vectors of docs/ledger-format.md: unchanged, and judged here as every verifier must judge them."""

from __future__ import annotations

import json

import pytest

from common.ledger import read_ledger
from common.ledger.entry_json import body_to_json
from common.ledger.examine import DAMAGED, VERIFIED, Expected, judge
from common.transparency.view import read_log
from tests.vectors import make

VECTORS = json.loads((make.HERE / "vectors.json").read_text(encoding="utf-8"))
DAMAGES = VECTORS["damaged"]


@pytest.mark.parametrize("name", sorted(make.files()))
def test_the_format_has_not_changed(name):
    """A change here breaks every verifier out there: give the format another number."""
    assert (make.HERE / name).read_text(encoding="utf-8") == make.files()[name]


@pytest.mark.parametrize("name", VECTORS["ledgers"])
def test_a_good_ledger_is_verified(name):
    facts = VECTORS["ledgers"][name]
    judgement = judge(make.HERE / name, Expected(head=facts["head"], key=facts["fingerprint"]))
    assert judgement.status == VERIFIED, str(judgement)
    record = judgement.to_json()
    assert {key: record[key] for key in ("entries", "head", "public_key", "fingerprint")} == {
        key: facts[key] for key in ("entries", "head", "public_key", "fingerprint")
    }
    bodies = [entry.body for entry in read_ledger(make.HERE / name).entries]
    assert [body_to_json(body)["type"] for body in bodies] == facts["types"]


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage["name"] for damage in DAMAGES])
def test_a_damaged_ledger_shows_its_flaw(damage, tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(make.content(damage))
    judgement = judge(path, Expected())
    assert judgement.status == DAMAGED, damage["name"]
    assert (judgement.flaw, judgement.entry) == (damage["flaw"], damage["entry"]), judgement.message
    assert "\n" not in str(judgement)


def test_the_vectors_hold_every_kind_of_entry_and_of_flaw():
    kinds = {kind for facts in VECTORS["ledgers"].values() for kind in facts["types"]}
    assert kinds == {"GENESIS", "AMEND", "RESERVE", "RELEASE", "ABORT", "RECEIPT", "KEY_ROTATE"}
    assert {damage["flaw"] for damage in DAMAGES} == {
        "ledger-torn",
        "entry-not-canonical",
        "chain-broken",
        "entry-malformed",
        "entry-out-of-order",
        "receipt-wrong",
        "signature-wrong",
    }


def test_the_server_s_log_of_the_vectors_is_verified_and_holds_the_receipts(tmp_path):
    log = VECTORS["log"]
    (tmp_path / "log.jsonl").write_text("".join(f"{line}\n" for line in log["lines"]))
    (tmp_path / "checkpoint").write_text(log["checkpoint"], encoding="utf-8")
    view = read_log(tmp_path, make.KEYS["server"].public, log["origin"])
    assert view.checkpoint.root.hex() == log["roots"][-1]
    assert [leaf["type"] for leaf in view.leaves] == ["ENROL", "RECEIPT", "ROUND", "RECEIPT", "HEAD"]
