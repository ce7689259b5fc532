from __future__ import annotations

from fractions import Fraction

import pytest

from common.errors import LedgerError
from common.ledger import Abort, Genesis, Release, Reserve
from common.ledger.entry_json import body_from_json, body_to_json
from common.privacy.mechanisms import Unprotected


def test_genesis_has_the_agreed_fields():
    body = Genesis(
        ledger_id="c" * 64,
        public_key=bytes(32),
        delta=1e-5,
        budget_epsilon=8.0,
        filter_order=12.5,
        num_examples=50,
        commitment="e" * 64,
    )
    assert body_to_json(body) == {
        "type": "GENESIS",
        "ledger_id": "c" * 64,
        "public_key": "A" * 43 + "=",
        "adjacency": "zero-out",
        "delta": "0.00001",
        "budget_epsilon": "8",
        "filter_order": "12.5",
        "num_examples": 50,
        "commitment": "e" * 64,
    }


def test_reserve_has_the_agreed_fields(reserve):
    assert body_to_json(reserve(4)) == {
        "type": "RESERVE",
        "run": "run-1",
        "round": 4,
        "purpose": "train",
        "mechanisms": [
            {"type": "poisson-gaussian", "noise_multiplier": "1.25", "sample_rate": [1, 5], "steps": 3}
        ],
        "max_grad_norm": "1",
        "normaliser": [20, 1],
        "sampler": "poisson",
        "noise_source": "chacha20",
        "input_model": "a" * 64,
        "server_nonce": "c" * 64,
        "code_digest": "d" * 64,
        "libraries": {"opacus": "1.6.0"},
    }


TERMS = {"delta": 1e-5, "budget_epsilon": None, "num_examples": 1, "commitment": "e" * 64}
UNLIMITED = Genesis(
    ledger_id="c" * 64,
    public_key=bytes(32),
    delta=1e-5,
    budget_epsilon=None,
    filter_order=None,
    num_examples=1,
    commitment="e" * 64,
)
UNPROTECTED = Reserve(
    run="r",
    round=1,
    purpose="train",
    mechanisms=(Unprotected(num_steps=2),),
    max_grad_norm=None,
    normaliser=Fraction(7, 3),
    sampler="poisson",
    noise_source="none",
    input_model="d" * 64,
    server_nonce="a" * 64,
    code_digest="b" * 64,
)


@pytest.mark.parametrize(
    "body",
    [
        UNLIMITED,
        UNPROTECTED,
        Release(run="r", round=2, reserve=9, update="e" * 64),
        Abort(run="r", round=2, reserve=9, reason="data"),
    ],
)
def test_every_kind_round_trips(body):
    assert body_from_json(body_to_json(body)) == body


@pytest.mark.parametrize(
    "body", [UNLIMITED, UNPROTECTED, Release(run="r", round=2, reserve=9, update="e" * 64)]
)
def test_every_missing_field_is_named(body):
    whole = body_to_json(body)
    for name in whole:
        with pytest.raises(LedgerError, match=name):
            body_from_json({field: value for field, value in whole.items() if field != name})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"adjacency": "add-or-remove"}, "adjacency"),
        ({"delta": "1"}, "delta"),
        ({"delta": "0"}, "delta"),
        ({"delta": 1e-5}, "delta"),
        ({"budget_epsilon": "-1"}, "budget_epsilon"),
        ({"num_examples": 0}, "num_examples"),
        ({"public_key": "A" * 44}, "public_key"),
        ({"public_key": "A" * 42 + "B="}, "public_key"),
        ({"ledger_id": "c" * 63}, "ledger_id"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_a_genesis_of_another_form_is_refused(change, field):
    with pytest.raises(LedgerError, match=field):
        body_from_json(body_to_json(UNLIMITED) | change)


def test_two_ledgers_never_share_an_identity(key):
    ids = {Genesis.new(key, **TERMS).ledger_id for _ in range(20)}
    assert len(ids) == 20
