"""Ledgers as the server saw them last."""

from __future__ import annotations

import pytest

from common.ledger import Amend, parse_lines
from common.run_folder import LedgerHome
from server.seen import SeenLedgers
from tests.small_federation import MadeUpClient


@pytest.fixture
def client():
    return MadeUpClient(0, 24, 1.0)


def test_a_ledger_is_read_as_it_was_kept_and_grows(tmp_path, client):
    seen = SeenLedgers(LedgerHome(tmp_path))
    first = parse_lines(client.lines)
    seen.keep([first])
    client.write(Amend(num_examples=30, commitment="c" * 64))
    grown = parse_lines(client.lines)
    seen.keep([grown, grown])
    assert SeenLedgers(LedgerHome(tmp_path)).read(first.genesis.ledger_id).lines == grown.lines


def test_a_torn_line_is_left_out_and_another_ledger_is_none(tmp_path, client):
    seen, view = SeenLedgers(LedgerHome(tmp_path)), parse_lines(client.lines)
    seen.keep([view])
    (file,) = (tmp_path / "seen").iterdir()
    with file.open("ab") as lines:
        lines.write(b'{"entry":')
    assert seen.read(view.genesis.ledger_id).lines == view.lines
    assert seen.read("f" * 64) is None
    file.rename(file.with_name("f" * 64 + ".jsonl"))
    assert seen.read("f" * 64) is None
