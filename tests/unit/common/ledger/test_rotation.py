"""Handing a ledger to a new key: whatever happens on the way, ledger and key fit afterwards."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from common.errors import LedgerError, LedgerTampered
from common.ledger import KeyRotate, Ledger, SigningKey, read_ledger
from common.ledger.rotation import current_key, rotate
from tests.dying import killed_at

OLD, NEW = "old passphrase", "new passphrase"


@pytest.fixture
def key_path(tmp_path, key) -> Path:
    path = tmp_path / "keys" / "client-0.key"
    key.save(path)
    return path


def names(key_path: Path) -> set[str]:
    return {path.name for path in key_path.parent.iterdir()}


def test_the_new_key_takes_the_old_one_s_place_which_is_kept(filled, path, key, key_path, reserve):
    new = rotate(path, key_path)
    view = read_ledger(path)
    assert isinstance(view.entries[-1].body, KeyRotate)
    assert view.public_key == new.public == SigningKey.load(key_path).public != key.public
    assert names(key_path) == {"client-0.key", "client-0.key.retired-1"}
    assert SigningKey.load(key_path.with_name("client-0.key.retired-1")).public == key.public
    assert {stat.S_IMODE(file.stat().st_mode) for file in key_path.parent.iterdir()} == {0o600}
    Ledger.open(path, current_key(path, key_path)).append(reserve(9))


def test_every_retired_key_has_a_name_of_its_own(ledger, path, key, key_path):
    kept = [key.public] + [rotate(path, key_path).public for _ in range(3)]
    found = [
        SigningKey.load(key_path.with_name(f"client-0.key.retired-{number}")).public for number in (1, 2, 3)
    ]
    assert [*found, SigningKey.load(key_path).public] == kept
    assert len(names(key_path)) == 4


def test_without_an_interrupted_rotation_the_ledger_is_not_even_read(tmp_path, key, key_path):
    assert current_key(tmp_path / "none.jsonl", key_path).public == key.public


def test_a_rotation_killed_before_any_durable_call_can_be_finished(filled, path, key, key_path, tmp_path):
    whole, deaths, finished = path.read_bytes(), 0, set()
    for number in range(1, 100):
        shutil.rmtree(key_path.parent)
        key.save(key_path)
        path.write_bytes(whole)
        died = killed_at(number, lambda: rotate(path, key_path))
        deaths += died
        assert key_path.exists()
        first = current_key(path, key_path)
        ledger = Ledger.open(path, first)
        finished.add(len(ledger.view.entries))
        assert path.read_bytes().startswith(whole)
        assert first.public == SigningKey.load(key_path).public
        second = rotate(path, key_path)
        assert Ledger.open(path, current_key(path, key_path)).view.public_key == second.public
        assert not key_path.with_name("client-0.key.next").exists()
        kept = {SigningKey.load(file).public for file in key_path.parent.glob("*.key*")}
        assert {key.public, first.public, second.public} <= kept
        if not died:
            break
    assert deaths >= 12
    assert finished == {6, 7}


def test_finishing_may_be_killed_too(filled, path, key, key_path):
    rotation = interrupted_after_the_entry(filled, key_path)
    whole, deaths = path.read_bytes(), 0
    keys = key_path.parent
    shutil.copytree(keys, keys.with_name("before"))
    for number in range(1, 100):
        shutil.rmtree(keys)
        shutil.copytree(keys.with_name("before"), keys)
        died = killed_at(number, lambda: current_key(path, key_path))
        deaths += died
        assert current_key(path, key_path).public == rotation.public
        assert SigningKey.load(key_path).public == rotation.public
        assert names(key_path) == {"client-0.key", "client-0.key.retired-1"}
        assert SigningKey.load(key_path.with_name("client-0.key.retired-1")).public == key.public
        if not died:
            break
    assert deaths >= 6
    assert path.read_bytes() == whole


def interrupted_after_the_entry(ledger: Ledger, key_path: Path, passphrase: str | None = None) -> SigningKey:
    """Do what `rotate` has done when it is killed between the entry and the change of files."""
    new = SigningKey.generate()
    new.save(key_path.with_name(key_path.name + ".next"), passphrase)
    ledger.rotate(new)
    return new


def test_a_key_that_the_ledger_never_named_is_kept_but_not_used(filled, path, key, key_path):
    unused = SigningKey.generate()
    unused.save(key_path.with_name("client-0.key.next"))
    assert current_key(path, key_path).public == key.public
    new = rotate(path, key_path)
    assert unused.public != new.public == SigningKey.load(key_path).public
    retired = [SigningKey.load(key_path.with_name(f"client-0.key.retired-{n}")).public for n in (1, 2)]
    assert retired == [unused.public, key.public]


def test_a_torn_last_line_does_not_keep_a_rotation_from_being_finished(filled, path, key, key_path):
    SigningKey.generate().save(key_path.with_name("client-0.key.next"))
    path.write_bytes(path.read_bytes() + b'{"entry":{"public_key":')
    assert Ledger.open(path, current_key(path, key_path)).view == filled.view


def test_either_key_may_have_a_passphrase_of_its_own(ledger, path, key, tmp_path):
    place = tmp_path / "guarded" / "client.key"
    key.save(place, OLD)
    new = rotate(path, place, passphrase=OLD, new_passphrase=NEW)
    assert current_key(path, place, NEW).public == new.public
    with pytest.raises(LedgerError, match="passphrase"):
        current_key(path, place, OLD)


def test_an_interrupted_rotation_asks_for_the_passphrase_of_the_key_that_counts(ledger, path, key, tmp_path):
    place = tmp_path / "guarded" / "client.key"
    key.save(place, OLD)
    new = interrupted_after_the_entry(ledger, place, NEW)
    for wrong in (None, OLD):
        with pytest.raises(LedgerTampered, match="give the passphrase of the newer one") as caught:
            current_key(path, place, wrong)
        assert "\n" not in str(caught.value)
    assert current_key(path, place, NEW).public == new.public


def test_somebody_else_s_key_rotates_nothing(filled, path, tmp_path):
    place = tmp_path / "keys" / "other.key"
    SigningKey.generate().save(place)
    before = path.read_bytes()
    with pytest.raises(LedgerTampered, match="signed by another key"):
        rotate(path, place)
    assert path.read_bytes() == before
    assert names(place) == {"other.key"}


@pytest.mark.parametrize("missing", ["keys/none.key", "nowhere/client-0.key"])
def test_a_missing_key_is_said_in_one_line(filled, path, key_path, tmp_path, missing):
    with pytest.raises(LedgerError, match="is missing|cannot be opened") as caught:
        rotate(path, tmp_path / missing)
    assert "\n" not in str(caught.value)
