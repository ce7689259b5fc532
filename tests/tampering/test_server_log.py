"""Whatever is done to the server's log, the audit sees it, and ledgers bear witness against the server."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.audit import inspect_run
from common.audit.server_records import DamagedLog, read_server
from common.ledger import Genesis, SigningKey
from common.run_folder import RunFolder
from common.transparency.identity import KEY_FILE, log_name
from common.transparency.note import verifier_key
from tests.forgery import bodies_of, leaves_of, lines_of, rewrite, rewrite_log, write_lines
from tests.run_folders import RunPlan, charge, charge_and_release, server_key, sha256, write_run

Copy = Callable[[], RunFolder]
Edit = Callable[[list[str]], object]

LEAVES = 2 + 7 * 3 + 2


def codes_of(folder: RunFolder) -> set[str]:
    """Return the codes of the errors that refute a run."""
    report = inspect_run(folder.root)
    errors = {finding.code for finding in report.findings if finding.severity == "error"}
    assert report.verified is not bool(errors)
    return errors


@pytest.mark.parametrize("name", ["log.jsonl", "checkpoint", KEY_FILE])
def test_every_changed_byte_is_seen(copy: Copy, name: str) -> None:
    folder = copy()
    path = folder.server / name
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for place, byte in enumerate(data):
            os.pwrite(file.fileno(), bytes([byte ^ 0x01]), place)
            assert isinstance(read_server(folder.server), DamagedLog), place
            os.pwrite(file.fileno(), bytes([byte]), place)
        assert not isinstance(read_server(folder.server), DamagedLog)
        os.pwrite(file.fileno(), bytes([data[-1] ^ 0x01]), len(data) - 1)
    assert codes_of(folder) == {"log-damaged"}


@pytest.mark.parametrize("name", ["log.jsonl", "checkpoint", KEY_FILE])
def test_a_missing_file_is_seen(copy: Copy, name: str) -> None:
    folder = copy()
    (folder.server / name).unlink()
    assert codes_of(folder) == {"log-damaged"}


def test_a_missing_log_is_seen(copy: Copy) -> None:
    folder = copy()
    shutil.rmtree(folder.server)
    assert codes_of(folder) == {"log-missing"}


def _edit(copy: Copy, edit: Edit) -> RunFolder:
    folder = copy()
    lines = lines_of(folder.server / "log.jsonl")
    assert len(lines) == LEAVES
    edit(lines)
    write_lines(folder.server / "log.jsonl", lines)
    return folder


@pytest.mark.parametrize("number", range(LEAVES))
def test_every_removed_leaf_is_seen(copy: Copy, number: int) -> None:
    assert codes_of(_edit(copy, lambda lines: lines.pop(number))) == {"log-damaged"}


@pytest.mark.parametrize("number", range(LEAVES))
def test_every_added_leaf_is_seen(copy: Copy, number: int) -> None:
    folder = _edit(copy, lambda lines: lines.insert(number, lines[0] if number else "{}"))
    assert codes_of(folder) == {"log-damaged"}


@pytest.mark.parametrize("number", range(LEAVES - 1))
def test_every_swap_of_leaves_is_seen(copy: Copy, number: int) -> None:
    def swap(lines: list[str]) -> None:
        lines[number], lines[number + 1] = lines[number + 1], lines[number]

    assert codes_of(_edit(copy, swap)) == {"log-damaged"}


def test_leaves_after_the_signed_ones_count_for_nothing_and_refute_the_log(copy: Copy) -> None:
    folder = _edit(copy, lambda lines: lines.append(lines[-1]))
    report = inspect_run(folder.root)
    (finding,) = report.findings
    assert (finding.code, finding.severity) == ("log-unsigned-tail", "error")
    assert not report.verified


@pytest.mark.parametrize("number", range(2, LEAVES - 2))
def test_a_log_that_its_server_wrote_anew_without_a_leaf_is_seen(copy: Copy, number: int) -> None:
    folder = copy()
    leaves, key = leaves_of(folder), server_key(folder)
    rewrite_log(folder, leaves[:number] + leaves[number + 1 :], key, log_name(key.public))
    assert codes_of(folder) & {"log-rollback", "round-not-in-log"}


@pytest.mark.parametrize("number", range(3, LEAVES - 2))
def test_a_log_put_back_to_an_older_state_is_seen(copy: Copy, number: int) -> None:
    folder = copy()
    leaves, key = leaves_of(folder), server_key(folder)
    rewrite_log(folder, leaves[:number], key, log_name(key.public))
    assert codes_of(folder) & {"log-rollback", "round-not-in-log"}


def test_a_log_put_back_together_with_one_ledger_is_seen_by_the_others(copy: Copy, tmp_path: Path) -> None:
    before = write_run(tmp_path / "run", RunPlan(rounds=2))
    backup = tmp_path / "backup"
    shutil.copytree(before.root, backup)
    for client in range(2):
        charge_and_release(before, client, 3, RunPlan())
    shutil.rmtree(before.server)
    shutil.copytree(RunFolder(backup).server, before.server)
    shutil.copy(RunFolder(backup).ledger(0), before.ledger(0))
    assert codes_of(before) == {"log-rollback", "receipt-not-in-log"}


def test_a_log_of_another_server_is_seen(copy: Copy) -> None:
    folder = copy()
    leaves, other = leaves_of(folder), SigningKey.generate()
    rewrite_log(folder, leaves, other, log_name(other.public))
    public = verifier_key(log_name(other.public), other.public) + "\n"
    (folder.server / KEY_FILE).write_text(public, encoding="ascii")
    assert codes_of(folder) == {"receipt-by-other-server"}


def test_a_server_that_leaves_out_enrolments_is_seen(copy: Copy) -> None:
    folder = copy()
    leaves, key = leaves_of(folder), server_key(folder)
    rest = [leaf for leaf in leaves if leaf["type"] != "ENROL"]
    rewrite_log(folder, rest, key, log_name(key.public))
    assert codes_of(folder) >= {"enrolment-missing", "receipt-not-in-log", "log-rollback"}


def test_a_log_of_the_size_that_a_client_saw_with_other_leaves_is_seen(copy: Copy) -> None:
    folder = copy()
    leaves, key = leaves_of(folder), server_key(folder)
    last_receipt = max(number for number, leaf in enumerate(leaves) if leaf["type"] == "RECEIPT")
    rewrite_log(folder, [{"type": "HELLO"}, *leaves[1 : last_receipt + 1]], key, log_name(key.public))
    report = inspect_run(folder.root)
    (finding,) = [finding for finding in report.findings if finding.code == "log-rollback"]
    assert "are not those that a client saw" in finding.message


def test_a_ledger_begun_anew_before_its_first_receipt_is_seen(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RunPlan(clients=1, rounds=0))
    key = server_key(folder)
    rewrite_log(folder, leaves_of(folder)[:1], key, log_name(key.public))
    (genesis,) = bodies_of(folder.ledger(0))
    assert isinstance(genesis, Genesis)
    new = dataclasses.replace(genesis, commitment=sha256("other"))
    rewrite(folder.ledger(0), [new], SigningKey.load(folder.key(0)))
    assert codes_of(folder) == {"ledger-fork"}


def test_a_ledger_that_only_the_log_knows_is_missed(tmp_path: Path) -> None:
    plan = RunPlan(rounds=0)
    folder = write_run(tmp_path / "run", plan)
    charge(folder, 0, 1, plan)
    folder.ledger(1).unlink()
    assert codes_of(folder) == {"ledger-missing"}
    leaves, key = leaves_of(folder), server_key(folder)
    other_run = [leaf | {"run": "run-0"} if leaf["type"] == "HEAD" else leaf for leaf in leaves]
    rewrite_log(folder, other_run, key, log_name(key.public))
    assert codes_of(folder) == set()
