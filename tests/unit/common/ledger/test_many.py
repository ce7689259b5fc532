"""Ledgers read by several processes are the ledgers read by one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import LedgerError, LedgerTampered
from common.ledger import LedgerView, many, read_ledger
from common.ledger.many import read_many
from tests.run_folders import RunPlan, write_run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return seven ledgers, of which the third is cut, and one file that is not there."""
    folder = write_run(tmp_path_factory.mktemp("many"), RunPlan(clients=7, rounds=2, logged=False))
    found = [folder.ledger(client) for client in range(7)]
    found[2].write_bytes(found[2].read_bytes()[:-1])
    return [*found, folder.ledger(7)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_result_does_not_depend_on_the_workers(files: list[Path], workers: int) -> None:
    outcomes = read_many(files, workers=workers)
    assert len(outcomes) == 8
    for number in (0, 1, 3, 4, 5, 6):
        assert outcomes[number] == replace(read_ledger(files[number]), lines=())
    torn, missing = outcomes[2], outcomes[7]
    assert isinstance(torn, LedgerTampered)
    assert (torn.flaw, torn.entry) == ("ledger-torn", None)
    assert isinstance(missing, LedgerError)
    assert "does not exist" in str(missing)


def test_the_entry_of_a_flaw_survives_the_way_from_a_worker(files: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "client-0.jsonl"
    copy.write_bytes(files[0].read_bytes().replace(b'"steps":2', b'"steps":1', 1))
    first, second = read_many([copy, copy], workers=2)
    for tampered in (first, second):
        assert isinstance(tampered, LedgerTampered)
        assert (tampered.flaw, tampered.entry) == ("signature-wrong", 1)


def test_without_other_processes_this_one_reads_all(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    outcomes = read_many(files, workers=2)
    assert [isinstance(outcome, LedgerView) for outcome in outcomes] == [
        number not in {2, 7} for number in range(8)
    ]


def test_a_few_files_need_no_other_process(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many.subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert len(read_many(files)) == 8
