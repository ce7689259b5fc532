from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.errors import LedgerError, LedgerFork, LedgerTampered
from common.ledger.keys import SigningKey
from common.transparency.log import ServerLog
from common.transparency.merkle import EMPTY_ROOT, MerkleTree, leaf_hash, verify_consistency, verify_inclusion
from common.transparency.note import open_checkpoint
from common.transparency.view import read_log


def test_an_empty_log_is_signed(log, folder, key, origin):
    assert (log.size, log.lines, log.root) == (0, (), EMPTY_ROOT)
    checkpoint = open_checkpoint(log.checkpoint, key.public, origin)
    assert (checkpoint.size, checkpoint.root) == (0, EMPTY_ROOT)
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint", "log.jsonl"]
    assert read_log(folder, key.public, origin).lines == ()


def test_leaves_are_canonical_lines_under_a_signed_root(log, folder, key, origin):
    assert log.append([{"type": "ROUND", "round": 1}, {"b": [True, None], "a": "\n"}]) == range(2)
    assert log.append([{"type": "HEAD"}]) == range(2, 3)
    lines = ('{"round":1,"type":"ROUND"}', '{"a":"\\n","b":[true,null]}', '{"type":"HEAD"}')
    assert log.lines == lines
    assert (folder / "log.jsonl").read_bytes() == "".join(line + "\n" for line in lines).encode()
    assert (folder / "checkpoint").read_text() == log.checkpoint
    assert log.root == MerkleTree(line.encode() for line in lines).root()
    checkpoint = open_checkpoint(log.checkpoint, key.public, origin)
    assert (checkpoint.size, checkpoint.root) == (3, log.root)


def test_its_proofs_hold_for_readers_who_have_nothing_else(log, key, origin):
    held = []
    for number in range(9):
        log.append([{"number": number}])
        held.append(open_checkpoint(log.checkpoint, key.public, origin))
    for old in held:
        proof = log.consistency_proof(old.size)
        claim = {"old": old.size, "new": 9, "old_root": old.root, "new_root": log.root}
        assert verify_consistency(proof=proof, **claim)
    for index, line in enumerate(log.lines):
        leaf, proof = leaf_hash(line.encode()), log.inclusion_proof(index)
        assert verify_inclusion(index=index, size=9, leaf=leaf, proof=proof, root=log.root)
    with pytest.raises(LedgerError, match="leaf 9 is not in a log of size 9"):
        log.inclusion_proof(9)
    with pytest.raises(LedgerError, match="holds none of size 10"):
        log.consistency_proof(10)


def test_a_log_goes_on_where_it_ended(folder, key, origin):
    for number in range(5):
        with ServerLog.open(folder, key, origin) as log:
            assert log.append([{"number": number}]) == range(number, number + 1)
    with ServerLog.open(folder, key, origin) as log:
        assert [json.loads(line)["number"] for line in log.lines] == list(range(5))
        assert log.root == read_log(folder, key.public, origin).root_at(5)


def test_nothing_to_append_changes_nothing(log, folder):
    before = (folder / "checkpoint").stat().st_ino, log.checkpoint
    assert log.append([]) == range(0)
    assert ((folder / "checkpoint").stat().st_ino, log.checkpoint) == before


@pytest.mark.parametrize("value", [0.5, "\u00fc", 2**53, b"bytes", {"nested": [1.0]}])
def test_a_leaf_without_a_canonical_form_is_refused_and_none_is_added(log, folder, value):
    with pytest.raises(LedgerError, match="a leaf of the log has no canonical form"):
        log.append([{"good": 1}, {"bad": value}])
    assert log.size == 0
    assert (folder / "log.jsonl").read_bytes() == b""
    assert log.append([{"good": 1}]) == range(1)


def test_threads_share_a_log(log, folder, key, origin):
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(lambda number: log.append([{"number": number}, {"twin": number}]), range(24)))
    assert sorted(place.start for place in places) == list(range(0, 48, 2))
    for number, place in enumerate(places):
        assert [json.loads(log.lines[index]) for index in place] == [{"number": number}, {"twin": number}]
    assert read_log(folder, key.public, origin).lines == log.lines


def test_a_second_process_is_refused_in_one_line(log, folder, key, origin):
    with pytest.raises(LedgerError, match=r"log.jsonl is in use by another process: wait for it to end"):
        ServerLog.open(folder, key, origin)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ServerLog.open(folder, key, origin)
        except LedgerError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"in use by another process" in os.read(reading, 1000)
    os.close(reading), os.close(writing)
    log.close()
    ServerLog.open(folder, key, origin).close()


def test_a_closed_log_is_read_but_not_appended_to(log):
    log.append([{"number": 0}])
    log.close()
    assert log.size == 1
    with pytest.raises(LedgerError, match="is closed: open it again"):
        log.append([{"number": 1}])


def test_a_file_that_somebody_else_wrote_to_is_not_appended_to(log, folder):
    log.append([{"number": 0}])
    path = folder / "log.jsonl"
    whole = path.read_bytes()
    for content in (whole + b"x", whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(LedgerFork, match="was changed by somebody else"):
            log.append([{"number": 1}])
    path.write_bytes(whole)
    path.rename(folder / "moved")
    with pytest.raises(LedgerFork, match="was changed by somebody else"):
        log.append([{"number": 1}])
    path.write_bytes(whole)  # the same bytes, but another file: a copy was put in its place
    with pytest.raises(LedgerFork, match="was changed by somebody else"):
        log.append([{"number": 1}])


@pytest.mark.parametrize("surplus", [b'{"torn', b'{"whole":1}\n', b'{"whole":1}\n{"torn', b"\n"])
def test_lines_after_the_signed_ones_are_cut_off(twenty, key, origin, surplus):
    path = twenty / "log.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + surplus)
    with ServerLog.open(twenty, key, origin) as log:
        assert log.size == 20
        assert path.read_bytes() == whole
        assert log.append([{"number": 20}]) == range(20, 21)
    assert read_log(twenty, key.public, origin).surplus == 0


def test_another_key_or_origin_does_not_open_it_and_changes_nothing(twenty, key, origin):
    (twenty / "log.jsonl").open("ab").write(b"torn")
    before = [path.read_bytes() for path in sorted(twenty.iterdir())]
    with pytest.raises(LedgerTampered, match="no signature of the key"):
        ServerLog.open(twenty, SigningKey.generate(), origin)
    with pytest.raises(LedgerTampered, match="no signature of the key another.example"):
        ServerLog.open(twenty, key, "another.example")
    assert [path.read_bytes() for path in sorted(twenty.iterdir())] == before
    ServerLog.open(twenty, key, origin).close()


def test_a_log_with_a_file_missing_is_not_begun_anew(twenty, key, origin):
    checkpoint, lines = twenty / "checkpoint", twenty / "log.jsonl"
    note = checkpoint.read_bytes()
    checkpoint.unlink()
    with pytest.raises(LedgerTampered, match="checkpoint is missing"):
        ServerLog.open(twenty, key, origin)
    assert not checkpoint.exists()
    checkpoint.write_bytes(note)
    lines.unlink()
    with pytest.raises(LedgerError, match="cannot be opened for writing"):
        ServerLog.open(twenty, key, origin)
    assert not lines.exists()
    lines.touch()
    with pytest.raises(LedgerTampered, match="0 complete lines, but 20 are signed"):
        ServerLog.open(twenty, key, origin)


def test_a_disk_that_refuses_closes_the_log_and_loses_nothing(folder, key, origin, monkeypatch):
    calls = ("pwrite", "fsync", "replace")
    for call in calls:
        with ServerLog.open(folder, key, origin) as log:
            size = log.append([{"kept": call}]).stop
            monkeypatch.setattr(os, call, refuse)
            with pytest.raises(LedgerError, match=r"No space left on device\): nothing was confirmed"):
                log.append([{"lost": call}])
            monkeypatch.undo()
            assert (log.size, open_checkpoint(log.checkpoint, key.public, origin).size) == (size, size)
            assert log.root == MerkleTree(line.encode() for line in log.lines).root()
            with pytest.raises(LedgerError, match="is closed"):
                log.append([{"lost": call}])
    with ServerLog.open(folder, key, origin) as log:
        assert [json.loads(line) for line in log.lines] == [
            {"kept": c} for c in ("pwrite", "fsync", "replace")
        ]


def refuse(*args: object, **kwargs: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path, key, origin):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="cannot be opened for writing"):
        ServerLog.open(tmp_path / "file" / "server", key, origin)


def test_an_origin_that_a_note_cannot_hold_is_refused(folder, key):
    with pytest.raises(LedgerError, match="key name"):
        ServerLog.open(folder, key, "two words")


def test_a_log_that_did_not_open_is_not_kept_from_others(twenty, key, origin):
    with pytest.raises(LedgerTampered) as kept_with_its_frames:
        ServerLog.open(twenty, SigningKey.generate(), origin)
    ServerLog.open(twenty, key, origin).close()
    assert kept_with_its_frames.tb is not None
