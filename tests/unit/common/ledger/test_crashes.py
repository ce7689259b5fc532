"""kill -9 before every call that changes the disk: no confirmed entry is lost, no file becomes unusable."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import LedgerError
from common.ledger import Genesis, Ledger, SigningKey, read_ledger
from tests.dying import killed_at


def test_appending(ledger, reserve, path, key, tmp_path):
    confirmed = tmp_path / "confirmed"

    def append_two() -> None:
        opened = Ledger.open(path, key)
        for number in (1, 2):
            opened.append(reserve(number))
            confirmed.mkdir(exist_ok=True)
            (confirmed / str(number)).touch()

    start = path.read_bytes()
    deaths = 0
    for number in range(1, 100):
        path.write_bytes(start)
        for name in ("1", "2"):
            (confirmed / name).unlink(missing_ok=True)
        died = killed_at(number, append_two)
        deaths += died
        kept = sum((confirmed / name).exists() for name in ("1", "2"))
        reopened = Ledger.open(path, key)
        assert kept <= len(reopened.view.entries) - 1 <= kept + 1
        reopened.append(reserve(9))
        assert read_ledger(path) == reopened.view
        if not died:
            break
    assert deaths >= 6


def test_creating(path, key, reserve):
    terms = {"delta": 1e-5, "budget_epsilon": 8.0, "num_examples": 100}
    genesis = Genesis.new(key, **terms, commitment="e" * 64)
    deaths = 0
    for number in range(1, 100):
        path.unlink(missing_ok=True)
        died = killed_at(number, lambda: Ledger.create(path, key, genesis))
        deaths += died
        continued = Ledger.open(path, key) if path.exists() else Ledger.create(path, key, genesis)
        with pytest.raises(LedgerError, match="exists already"):
            Ledger.create(path, key, genesis)
        continued.append(reserve())
        assert len(read_ledger(path).entries) == 2
        if not died:
            break
    assert deaths >= 5


def test_repairing(filled, path, key, reserve):
    whole = path.read_bytes()
    deaths = 0
    for number in range(1, 100):
        path.write_bytes(whole + b'{"entry":{"torn')
        died = killed_at(number, lambda: Ledger.open(path, key))
        deaths += died
        assert path.read_bytes()[: len(whole)] == whole
        assert Ledger.open(path, key).view == filled.view
        assert path.read_bytes() == whole
        if not died:
            break
    assert deaths >= 2


def test_saving_a_key(key, tmp_path):
    path: Path = tmp_path / "keys" / "client-0.pem"
    deaths = 0
    for number in range(1, 100):
        path.unlink(missing_ok=True)
        died = killed_at(number, lambda: key.save(path))
        deaths += died
        if not path.exists():
            key.save(path)
        assert SigningKey.load(path).public == key.public
        if not died:
            break
    assert deaths >= 5
