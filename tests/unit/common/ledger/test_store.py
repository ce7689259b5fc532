from __future__ import annotations

import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.errors import LedgerError, LedgerFork, LedgerTampered
from common.ledger import Genesis, Ledger, Release, SigningKey, read_ledger, store

TERMS = {"delta": 1e-5, "budget_epsilon": None, "num_examples": 1, "commitment": "e" * 64}


def test_an_entry_is_in_the_file_and_synced_when_append_returns(ledger, reserve, path, monkeypatch):
    synced: list[bytes] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        sync(descriptor)
        synced.append(path.read_bytes())

    monkeypatch.setattr(store.os, "fsync", watched)
    entry = ledger.append(reserve())
    assert synced == [path.read_bytes()]
    assert path.read_bytes().splitlines()[1].decode() == ledger.view.lines[1]
    assert entry.sequence == 1
    assert entry == ledger.view.entries[-1] == read_ledger(path).entries[-1]


def test_no_descriptor_stays_open_between_appends(ledger, reserve):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(1, 20):
        ledger.append(reserve(number))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_create_never_replaces_a_ledger(filled, path, key):
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="exists already: open it instead"):
        Ledger.create(path, key, Genesis.new(key, **TERMS))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_create_does_not_write_through_a_name_that_a_crash_left_behind(filled, path, key):
    path.with_name(f".{path.name}.tmp").hardlink_to(path)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="exists already"):
        Ledger.create(path, key, Genesis.new(key, **TERMS))
    assert path.read_bytes() == before


def test_a_folder_that_is_a_file_is_said_in_one_line(tmp_path, key):
    (tmp_path / "file").touch()
    genesis = Genesis.new(key, **TERMS)
    with pytest.raises(LedgerError, match="cannot be written .Not a directory"):
        Ledger.create(tmp_path / "file" / "client-0.jsonl", key, genesis)


def test_create_needs_the_key_of_its_genesis(path, key):
    genesis = Genesis.new(SigningKey.generate(), **TERMS)
    with pytest.raises(LedgerTampered, match="signature"):
        Ledger.create(path, key, genesis)
    assert not path.exists()


def test_another_key_cannot_open_a_ledger(filled, path):
    with pytest.raises(LedgerTampered, match="another key"):
        Ledger.open(path, SigningKey.generate())


def test_every_torn_last_line_is_cut_and_nothing_else(filled, path, key, reserve):
    whole = path.read_bytes()
    complete = whole[: whole[:-1].rfind(b"\n") + 1]
    for length in range(len(complete) + 1, len(whole)):
        path.write_bytes(whole[:length])
        assert len(Ledger.open(path, key).view.entries) == 5
        assert path.read_bytes() == complete
    reopened = Ledger.open(path, key)
    reopened.append(reserve(3))
    assert len(read_ledger(path).entries) == 6


def test_a_torn_file_that_does_not_verify_is_left_alone(filled, path, key):
    broken = path.read_bytes().replace(b'"round":2', b'"round":3', 1) + b'{"entry"'
    path.write_bytes(broken)
    with pytest.raises(LedgerTampered):
        Ledger.open(path, key)
    path.write_bytes(b"notes of mine, no newline")
    with pytest.raises(LedgerTampered):
        Ledger.open(path, key)
    assert path.read_bytes() == b"notes of mine, no newline"


def test_a_line_that_only_looked_torn_is_kept(filled, path, key, monkeypatch):
    whole, reads = path.read_bytes(), []
    read = store.read_bytes

    def first_read_too_early(place):
        reads.append(place)
        return whole[:-40] if len(reads) == 1 else read(place)

    monkeypatch.setattr(store, "read_bytes", first_read_too_early)
    assert len(Ledger.open(path, key).view.entries) == 6
    assert path.read_bytes() == whole


def test_a_torn_ledger_that_another_process_holds_is_not_cut(filled, path, key):
    torn = path.read_bytes()[:-5]
    path.write_bytes(torn)
    with path.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LedgerError, match="in use by another process"):
            Ledger.open(path, key)
    assert path.read_bytes() == torn


def test_a_second_process_is_refused_in_one_line(ledger, reserve, path):
    before = path.read_bytes()
    child = os.fork()
    if child == 0:
        os._exit(refused_while_locked(ledger, reserve, path))
    assert os.waitpid(child, 0)[1] == 0
    assert path.read_bytes() == before
    ledger.append(reserve())


def refused_while_locked(ledger, reserve, path) -> int:
    """Return 0 if an append is refused while somebody else's lock is held."""
    with path.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        try:
            ledger.append(reserve())
        except LedgerError as error:
            return int("in use by another process" not in str(error) or "\n" in str(error))
    return 1


def test_a_ledger_that_somebody_else_continued_is_a_fork(ledger, reserve, path, key):
    other = Ledger.open(path, key)
    other.append(reserve(1))
    with pytest.raises(LedgerFork, match="open it again"):
        ledger.append(reserve(2))
    assert read_ledger(path) == other.view
    assert len(ledger.view.entries) == 1


def test_a_ledger_that_lost_its_end_is_a_fork(filled, reserve, path):
    path.write_bytes(path.read_bytes()[: -len(filled.view.lines[-1]) - 1])
    with pytest.raises(LedgerFork):
        filled.append(reserve(3))


def test_a_last_line_of_equal_length_is_a_fork_too(filled, reserve, path):
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(LedgerFork):
        filled.append(reserve(3))
    assert path.read_bytes() == bytes(data)


def test_catching_up_takes_in_what_another_process_appended(ledger, reserve, path, key):
    other = Ledger.open(path, key)
    other.append(reserve(1))
    ledger.catch_up()
    assert ledger.view == other.view
    ledger.append(Release(run="run-1", round=1, reserve=1, update="b" * 64))
    assert len(read_ledger(path).entries) == 3


def test_catching_up_with_a_ledger_that_lost_entries_is_a_fork(filled, path):
    path.write_bytes(path.read_bytes()[: -len(filled.view.lines[-1]) - 1])
    with pytest.raises(LedgerFork, match="lost entries"):
        filled.catch_up()


def test_an_unlawful_entry_is_refused_before_anything_is_written(ledger, path):
    before = path.read_bytes()
    with pytest.raises(LedgerTampered, match="open RESERVE"):
        ledger.append(Release(run="run-1", round=1, reserve=1, update="b" * 64))
    with pytest.raises(LedgerTampered, match="only GENESIS"):
        ledger.append(ledger.view.genesis)
    assert path.read_bytes() == before


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_disk_that_refuses_leaves_the_ledger_as_it_was(ledger, reserve, path, monkeypatch, call):
    before = path.read_bytes()

    def refuse(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(store.os, call, refuse)
        with pytest.raises(LedgerError, match="cannot be written .*: nothing was charged"):
            ledger.append(reserve())
    assert path.read_bytes() == before
    ledger.append(reserve())
    assert len(read_ledger(path).entries) == 2


def test_a_full_disk_leaves_the_ledger_as_it_was(ledger, reserve, path, monkeypatch):
    before, write = path.read_bytes(), os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(store.os, "pwrite", lambda fd, data, at: write(fd, data[:50], at))
        with pytest.raises(LedgerError, match="No space left"):
            ledger.append(reserve())
    assert path.read_bytes() == before
    ledger.append(reserve())


def test_a_file_that_is_gone_is_refused_in_one_line(ledger, reserve, path, key):
    path.unlink()
    with pytest.raises(LedgerError, match="cannot be opened for writing"):
        ledger.append(reserve())
    with pytest.raises(LedgerError, match="does not exist"):
        Ledger.open(path, key)


def test_threads_append_one_after_the_other(ledger, reserve, path):
    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(lambda number: ledger.append(reserve(number)), range(1, 65)))
    assert sorted(entry.sequence for entry in entries) == list(range(1, 65))
    assert read_ledger(path) == ledger.view
