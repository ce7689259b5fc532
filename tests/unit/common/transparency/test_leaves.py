"""The leaves of a server's log in JSON."""

from __future__ import annotations

import pytest

from common import canonical
from common.errors import LedgerError
from common.ledger import SigningKey
from common.ledger.receipts import Receipt
from common.transparency.leaves import (
    Enrolment,
    Leaf,
    LoggedHead,
    LoggedRound,
    leaf_from_json,
    leaf_to_json,
)

_KEY = SigningKey.generate()
_RECEIPT = Receipt(
    origin="fedledger.server/0",
    server_key=_KEY.public,
    index=3,
    ledger_id="a" * 64,
    sequence=2,
    entry="b" * 64,
    run="run-1",
    round=1,
)
LEAVES: list[Leaf] = [
    Enrolment(
        ledger_id="a" * 64,
        partition_id=0,
        genesis="b" * 64,
        public_key=_KEY.public,
        commitment="c" * 64,
        num_examples=5,
    ),
    _RECEIPT.sign(_KEY),
    LoggedRound(run="run-1", round=1, record="d" * 64),
    LoggedHead(run="run-1", ledger_id="a" * 64, entries=4, head="e" * 64),
]
IDS = [type(leaf).__name__ for leaf in LEAVES]


@pytest.mark.parametrize("leaf", LEAVES, ids=IDS)
def test_a_leaf_comes_back_as_it_was(leaf: Leaf) -> None:
    assert leaf_from_json(canonical.loads(canonical.dumps(leaf_to_json(leaf)).decode())) == leaf


@pytest.mark.parametrize("leaf", LEAVES, ids=IDS)
def test_a_field_of_a_later_version_is_passed_over(leaf: Leaf) -> None:
    assert leaf_from_json(leaf_to_json(leaf) | {"later": 1}) == leaf


@pytest.mark.parametrize("leaf", LEAVES, ids=IDS)
def test_a_leaf_without_one_of_its_fields_is_refused(leaf: Leaf) -> None:
    fields = leaf_to_json(leaf)
    for name in set(fields) - {"type"}:
        with pytest.raises(LedgerError):
            leaf_from_json({key: value for key, value in fields.items() if key != name})


def test_a_leaf_of_another_kind_is_none_of_these() -> None:
    assert leaf_from_json({"type": "WITNESS"}) is None
    assert leaf_from_json({}) is None
    assert leaf_from_json({"type": 1}) is None
