"""What an auditor sees in a log that was changed, cut, or put back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from common.errors import LedgerError, LedgerTampered
from common.ledger.keys import SigningKey
from common.transparency.log import ServerLog
from common.transparency.merkle import EMPTY_ROOT, MerkleTree
from common.transparency.note import Checkpoint, open_checkpoint, sign_checkpoint
from common.transparency.view import read_log


def write_lines(folder: Path, lines: list[bytes]) -> None:
    (folder / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def lines_of(folder: Path) -> list[bytes]:
    return (folder / "log.jsonl").read_bytes().splitlines()


def sign_anew(folder: Path, lines: list[bytes], key: SigningKey, origin: str) -> None:
    """Write lines as a dishonest server would: with a checkpoint that fits them."""
    write_lines(folder, lines)
    checkpoint = Checkpoint(origin=origin, size=len(lines), root=MerkleTree(lines).root())
    (folder / "checkpoint").write_text(sign_checkpoint(checkpoint, key, origin))


def test_a_view_holds_what_was_appended(twenty, key, origin):
    view = read_log(twenty, key.public, origin)
    assert view.leaves == tuple({"type": "ROUND", "round": number} for number in range(20))
    assert view.lines == tuple(line.decode() for line in lines_of(twenty))
    assert view.note == (twenty / "checkpoint").read_text()
    assert view.checkpoint == open_checkpoint(view.note, key.public, origin)
    assert (view.checkpoint.size, view.checkpoint.root, view.surplus) == (20, view.root_at(20), 0)
    for size in range(21):
        assert view.root_at(size) == MerkleTree(lines_of(twenty)[:size]).root()
    assert view == read_log(twenty, key.public, origin)


def test_every_changed_byte_of_the_lines_is_detected(twenty, key, origin):
    path = twenty / "log.jsonl"
    data = path.read_bytes()
    for place in range(len(data)):
        other = bytearray(data)
        other[place] ^= 1 << place % 8
        path.write_bytes(other)
        with pytest.raises(LedgerTampered, match="is not the signed one|complete lines, but 20 are signed"):
            read_log(twenty, key.public, origin)


def test_every_changed_byte_of_the_checkpoint_is_detected(twenty, key, origin):
    path = twenty / "checkpoint"
    data = path.read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            other = bytearray(data)
            other[place] ^= 1 << bit
            path.write_bytes(other)
            with pytest.raises(LedgerTampered):
                read_log(twenty, key.public, origin)


def test_every_truncation_is_detected(twenty, key, origin):
    path = twenty / "log.jsonl"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        complete = data[:length].count(b"\n")
        with pytest.raises(LedgerTampered, match=f"{complete} complete lines, but 20 are signed"):
            read_log(twenty, key.public, origin)


def test_every_exchange_of_two_lines_is_detected(twenty, key, origin):
    lines = lines_of(twenty)
    for first in range(20):
        for second in range(first):
            other = list(lines)
            other[first], other[second] = lines[second], lines[first]
            write_lines(twenty, other)
            with pytest.raises(LedgerTampered, match="root of the first 20 lines is not the signed one"):
                read_log(twenty, key.public, origin)


@pytest.mark.parametrize("index", range(20))
def test_a_deleted_line_is_detected(twenty, key, origin, index):
    lines = lines_of(twenty)
    write_lines(twenty, lines[:index] + lines[index + 1 :])
    with pytest.raises(LedgerTampered, match="19 complete lines, but 20 are signed"):
        read_log(twenty, key.public, origin)
    write_lines(twenty, [*lines[:index], *lines[index + 1 :], lines[index]])
    if index < 19:
        with pytest.raises(LedgerTampered, match="is not the signed one"):
            read_log(twenty, key.public, origin)


@pytest.mark.parametrize("index", range(20))
def test_a_doubled_line_is_detected(twenty, key, origin, index):
    lines = lines_of(twenty)
    write_lines(twenty, lines[: index + 1] + lines[index:])
    if index < 19:
        with pytest.raises(LedgerTampered, match="is not the signed one"):
            read_log(twenty, key.public, origin)
    else:  # nothing that was signed has changed: one line more, which nobody vouches for
        view = read_log(twenty, key.public, origin)
        assert (view.surplus, len(view.lines)) == (1, 20)


@pytest.mark.parametrize(
    ("surplus", "number"), [(b"torn", 1), (b"{}\n", 1), (b"{}\n{}\ntorn", 3), (b"\n", 1), (b"\xff", 1)]
)
def test_lines_after_the_signed_ones_are_counted_apart(twenty, key, origin, surplus, number):
    intact = read_log(twenty, key.public, origin)
    with (twenty / "log.jsonl").open("ab") as file:
        file.write(surplus)
    view = read_log(twenty, key.public, origin)
    assert view.surplus == number
    assert (view.lines, view.leaves, view.checkpoint) == (intact.lines, intact.leaves, intact.checkpoint)


def test_a_log_put_back_to_an_older_state_shows_only_against_a_held_checkpoint(tmp_path, folder, key, origin):
    with ServerLog.open(folder, key, origin) as log:
        log.append([{"number": 0}])
        early = open_checkpoint(log.checkpoint, key.public, origin)
        shutil.copytree(folder, tmp_path / "older")
        log.append([{"number": 1}])
        late = open_checkpoint(log.checkpoint, key.public, origin)
        assert read_log(folder, key.public, origin).contains(late)
    older = read_log(tmp_path / "older", key.public, origin)  # nothing in the folder is wrong
    assert older.surplus == 0
    assert older.contains(early)
    assert not older.contains(late)
    with pytest.raises(LedgerTampered, match="has 1 leaf, but it once had 2: put the newest copy back"):
        older.root_at(late.size)


def test_a_second_history_shows_against_a_held_checkpoint(tmp_path, folder, key, origin):
    with ServerLog.open(folder, key, origin) as log:
        log.append([{"number": 0}])
        shutil.copytree(folder, tmp_path / "fork")
        log.append([{"number": 1}])
        held = open_checkpoint(log.checkpoint, key.public, origin)
    with ServerLog.open(tmp_path / "fork", key, origin) as fork:
        fork.append([{"number": 7}, {"number": 2}])
    view = read_log(tmp_path / "fork", key.public, origin)
    assert view.root_at(held.size) != held.root
    assert not view.contains(held)


def test_a_checkpoint_of_another_log_is_not_contained(twenty, key, origin):
    view = read_log(twenty, key.public, origin)
    assert view.contains(view.checkpoint)
    assert view.contains(Checkpoint(origin=origin, size=0, root=EMPTY_ROOT))
    assert not view.contains(Checkpoint(origin="another.example", size=20, root=view.checkpoint.root))


def test_reading_changes_nothing_and_needs_no_lock(log, folder, key, origin):
    log.append([{"number": 0}])
    (folder / "log.jsonl").open("ab").write(b"torn")
    before = [(path.name, path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())]
    assert read_log(folder, key.public, origin).lines == log.lines
    after = [(path.name, path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())]
    assert after == before


def test_a_log_of_another_server_or_name_is_refused(twenty, key, origin):
    with pytest.raises(LedgerTampered, match="no signature of the key"):
        read_log(twenty, SigningKey.generate().public, origin)
    with pytest.raises(LedgerTampered, match="no signature of the key another.example"):
        read_log(twenty, key.public, "another.example")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1}', "leaf 1: it is not in canonical form"),
        (b'{"a":1,"a":1}', "leaf 1: it is not in canonical form"),
        (b'{"a":0.5}', "leaf 1: 0.5 is not a whole number"),
        (b'"\xc3\xbc"', "leaf 1: .*ascii"),
        (b"[]", "leaf 1 is not an object"),
        (b"", "leaf 1: "),
    ],
)
def test_a_signed_leaf_that_readers_could_read_in_two_ways_is_refused(twenty, key, origin, line, reason):
    sign_anew(twenty, [b"{}", line], key, origin)
    with pytest.raises(LedgerTampered, match=reason):
        read_log(twenty, key.public, origin)


def test_what_cannot_be_read_is_said_in_one_line(twenty, tmp_path, key, origin):
    with pytest.raises(LedgerError, match="does not exist: name a server's folder"):
        read_log(tmp_path / "nowhere", key.public, origin)
    (twenty / "checkpoint").write_bytes(b"\xff")
    with pytest.raises(LedgerTampered, match="checkpoint: it is not UTF-8"):
        read_log(twenty, key.public, origin)
    (twenty / "checkpoint").unlink()
    with pytest.raises(LedgerTampered, match="checkpoint is missing"):
        read_log(twenty, key.public, origin)
    (twenty / "checkpoint").mkdir()
    with pytest.raises(LedgerError, match="cannot be read"):
        read_log(twenty, key.public, origin)
