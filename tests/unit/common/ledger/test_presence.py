"""Who may say that a ledger takes part in a run."""

from __future__ import annotations

import pytest

from common.ledger import Genesis, Ledger, SigningKey, parse_lines
from common.ledger.presence import is_present

TERMS = {"delta": 1e-5, "budget_epsilon": 8.0, "num_examples": 30, "commitment": "0" * 64}


@pytest.fixture
def ledger(tmp_path):
    key = SigningKey.generate()
    return Ledger.create(tmp_path / "client-0.jsonl", key, Genesis.new(key, **TERMS))


def test_its_own_key_says_so_for_this_run_and_this_state_alone(ledger):
    before = ledger.view
    presence = ledger.prove_presence("run")
    assert is_present(before, "run", presence)
    assert not is_present(before, "another run", presence)
    ledger.rotate(SigningKey.generate())
    assert not is_present(ledger.view, "run", presence)


def test_after_a_rotation_the_new_key_says_so(ledger):
    ledger.rotate(SigningKey.generate())
    assert is_present(ledger.view, "run", ledger.prove_presence("run"))


def test_another_key_cannot(ledger, tmp_path):
    key = SigningKey.generate()
    other = Ledger.create(tmp_path / "client-1.jsonl", key, Genesis.new(key, **TERMS))
    copy = parse_lines(ledger.view.lines)
    assert not is_present(copy, "run", other.prove_presence("run"))
    assert not is_present(copy, "run", b"")
