"""A client's ledger is begun once: what was lost is asked for, and never replaced by something fresh."""

from __future__ import annotations

from itertools import count

import pytest

from client.ledgers import open_ledger
from common.data import Images
from common.data.shares import shares_of, split_of
from common.errors import ConfigError, LedgerError
from common.ledger import Ledger
from common.run_folder import LedgerHome
from tests.dying import killed_at


@pytest.fixture
def home(tmp_path) -> LedgerHome:
    return LedgerHome(tmp_path / "state")


@pytest.fixture
def records(tiny_settings) -> Images:
    config = tiny_settings()
    return split_of(config).train.share(shares_of(config)[0])


@pytest.fixture
def opened(home, tiny_settings, records):
    def opened(**changes) -> Ledger:
        named = {name.replace("__", ".").replace("_", "-"): value for name, value in changes.items()}
        return open_ledger(home, 0, tiny_settings(changes=named), records)

    return opened


def names(home: LedgerHome) -> list[str]:
    return sorted(path.relative_to(home.root).as_posix() for path in home.root.rglob("*") if path.is_file())


WHOLE = ["keys/client-0.key", "keys/client-0.salt", "ledgers/client-0.jsonl"]


@pytest.mark.parametrize("also_lost", ["", "key", "salt"])
def test_a_lost_ledger_is_asked_for(home, opened, also_lost):
    opened()
    home.ledger(0).unlink()
    if also_lost:
        getattr(home, also_lost)(0).unlink()
    before = names(home)
    words = "client-0.jsonl is missing: put it back, it alone says what this client has spent"
    with pytest.raises(LedgerError, match=words):
        opened()
    assert names(home) == before


def test_a_crash_at_the_first_start_is_no_loss(home, opened):
    """Whenever it comes, the next start begins the ledger or goes on with it; then a loss is one."""
    begun = 0
    for number in count(1):
        died = killed_at(number, opened)
        begun += home.ledger(0).exists()
        ledger = opened()
        assert len(ledger.view.entries) == 1
        assert set(WHOLE) <= set(names(home))
        assert opened().view == ledger.view
        home.ledger(0).unlink()
        with pytest.raises(LedgerError, match="it alone says what this client has spent"):
            opened()
        if not died:
            break
        for name in names(home):
            (home.root / name).unlink()
    assert number - 1 > begun > 3


def test_an_undisturbed_start_leaves_three_files(home, opened):
    opened()
    assert names(home) == WHOLE
    assert all((home.root / name).stat().st_mode & 0o777 == 0o600 for name in WHOLE[:2])


def test_terms_that_are_refused_leave_nothing(home, opened):
    with pytest.raises(ConfigError, match="1/24"):
        opened(privacy__delta=0.05)
    assert not home.root.exists()
    opened()


def test_a_lost_key_is_asked_for(home, opened):
    opened()
    home.key(0).unlink()
    with pytest.raises(LedgerError, match=r"client-0\.key is missing"):
        opened()
    assert names(home) == WHOLE[1:]


def test_a_lost_salt_is_asked_for_and_not_made_anew(home, opened):
    opened()
    home.salt(0).unlink()
    words = (
        r"client-0\.salt is missing: restore it from a backup, or .* privacy\.amend-ledgers = true \(what was"
    )
    with pytest.raises(ConfigError, match=words):
        opened()
    assert not home.salt(0).exists()


def test_a_lost_salt_can_be_amended(home, opened):
    before = opened().view
    home.salt(0).unlink()
    amended = opened(privacy__amend_ledgers=True).view
    assert amended.lines[:-1] == before.lines
    assert amended.num_examples == before.num_examples
    assert len(set(amended.commitments)) == 2
    assert opened().view == amended
