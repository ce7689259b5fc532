"""Some thousand fresh hostile inputs, always the same; and readers with bugs, which the laws must notice."""

from __future__ import annotations

import json

import pytest

from benchmarks.fuzz.corpus import load, save, select
from benchmarks.fuzz.engine import Study, Tally
from benchmarks.fuzz.ledger import FLAWS
from benchmarks.fuzz.targets import NAMES, open_target
from common.errors import LedgerTampered


def study(name: str, cases: int, seed: str = "tests") -> Tally:
    with open_target(name) as target:
        return Study(target, seed).run(cases)


@pytest.mark.parametrize("name", NAMES)
def test_hostile_input_breaks_no_law(name):
    tally = study(name, 2500)
    assert tally.bugs == {}
    assert tally.cases == 2500
    accepted = sum(number for (_, verdict, _), number in tally.kinds.items() if verdict == "accepted")
    assert 200 < accepted < 2000


def test_every_flaw_of_a_ledger_is_reached():
    whys = {why for _, verdict, why in study("ledger", 2500).kinds if verdict == "refused"}
    assert whys == FLAWS


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_fixes_every_outcome(name):
    first, second, other = study(name, 300), study(name, 300), study(name, 300, "other")
    assert first.digest == second.digest != other.digest


def laws_broken(name: str, cases: int = 2500) -> set[str]:
    return {why for _, verdict, why in study(name, cases).kinds if verdict == "BUG"}


def test_unverified_signatures_are_noticed(monkeypatch):
    monkeypatch.setattr("common.ledger.chain.verify", lambda *_: True)
    assert "no-forgery" in laws_broken("ledger")


def test_unverified_checkpoints_are_noticed(monkeypatch):
    monkeypatch.setattr("common.transparency.note.verify_raw", lambda *_: True)
    assert "no-forgery" in laws_broken("log")


@pytest.mark.parametrize("check", ["_check_closing", "_check_receipt", "_check_rotation"])
def test_a_missing_check_of_the_order_is_noticed(monkeypatch, check):
    monkeypatch.setattr(f"common.ledger.chain._Verifier.{check}", lambda *_: None)
    assert laws_broken("ledger") & {"lawful", "no-escape"}


def test_an_unlawful_refusal_is_noticed(monkeypatch):
    def refuse(*_: object) -> None:
        raise LedgerTampered("no entry is closed here", flaw="entry-out-of-order")

    monkeypatch.setattr("common.ledger.chain._Verifier._check_closing", refuse)
    assert "model-agrees" in laws_broken("ledger", 10)


def test_another_spelling_is_noticed(monkeypatch):
    monkeypatch.setattr("common.ledger.lines.canonical.loads", json.loads)
    assert laws_broken("ledger") & {"canonical", "round-trip", "no-escape"}


def test_an_unprintable_message_is_noticed(monkeypatch):
    monkeypatch.setattr("common.config.layers.shown", str)
    assert "one-line" in laws_broken("config")


def test_settings_that_are_read_back_otherwise_are_noticed(monkeypatch):
    monkeypatch.setattr("common.config.text.as_toml", lambda value: json.dumps(value)[:12])
    assert laws_broken("config") & {"round-trip", "no-escape"}


def test_what_never_ends_is_stopped(monkeypatch):
    def endless(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr("benchmarks.fuzz.engine.LIMIT_S", 0.05)
    monkeypatch.setattr("common.ledger.chain._Verifier._check_order", endless)
    assert "no-hang" in laws_broken("ledger", 10)


def test_a_corpus_is_read_back(tmp_path):
    with open_target("ledger") as target:
        kept = select(Study(target, "tests").run(150), target)
    save(kept, tmp_path / "ledger.json")
    assert load(tmp_path / "ledger.json") == kept
    assert {item.verdict for item in kept} == {"accepted", "refused"}
