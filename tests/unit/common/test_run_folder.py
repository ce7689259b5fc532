"""Files of a run: where they are, and that replacing one never loses the old content."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from common.errors import CheckpointError, ConfigError
from common.run_folder import RunFolder, append_line, exclusively, run_root, write_atomically


def test_the_folders_layout_is_fixed():
    folder = RunFolder(Path("/runs/a"))
    assert {
        str(path.relative_to(folder.root))
        for path in (
            folder.config,
            folder.rounds,
            folder.model,
            folder.evaluation,
            folder.partitions,
            folder.checkpoint,
            folder.ledger(3),
            folder.key(3),
        )
    } == {
        "config.toml",
        "rounds.jsonl",
        "model.safetensors",
        "evaluation.json",
        "partitions.json",
        "checkpoint",
        "ledgers/client-3.jsonl",
        "keys/client-3.key",
    }


def test_a_file_is_written_whole_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["replace", "fsync", "write"])
def test_when_the_disk_refuses_the_old_content_stands(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "write":
        monkeypatch.setattr(Path, "open", refuse)
    else:
        monkeypatch.setattr(os, step, refuse)
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert str(path) in str(caught.value)


def test_the_content_is_on_disk_before_the_name_points_at_it(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (steps.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append(Path(a).read_bytes()), replace(a, b))[1])
    write_atomically(tmp_path / "file", b"data")
    assert steps == ["fsync", b"data", "fsync"]


def test_a_folder_in_the_way_is_a_clear_error(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_atomically(tmp_path / "file", b"x")
    (tmp_path / "plain").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_atomically(tmp_path / "plain" / "below", b"x")


def test_lines_are_appended_durably(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda d: (synced.append((tmp_path / "l").read_text()), fsync(d))[1])
    append_line(tmp_path / "l", "one")
    append_line(tmp_path / "l", "zwei ä")
    assert (tmp_path / "l").read_text(encoding="utf-8") == "one\nzwei ä\n"
    assert synced == ["one\n", "one\nzwei ä\n"]


def test_a_line_that_cannot_be_appended_is_a_clear_error(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be written"):
        append_line(tmp_path / "missing" / "l", "one")


def test_where_a_run_lies(tmp_path, monkeypatch):
    assert run_root(str(tmp_path / "x"), 7) == tmp_path / "x"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FEDLEDGER_HOME", raising=False)
    assert run_root("~/x", 7) == tmp_path / "x"
    assert run_root("auto", 7) == tmp_path / ".fedledger" / "runs" / "flower-7"
    monkeypatch.setenv("FEDLEDGER_HOME", str(tmp_path / "home"))
    assert run_root("auto", 8) == tmp_path / "home" / "runs" / "flower-8"
    with pytest.raises(ConfigError, match="'runs/x' is relative"):
        run_root("runs/x", 7)


def test_a_run_belongs_to_one_process_at_a_time(tmp_path):
    folder = RunFolder(tmp_path)
    with exclusively(folder), pytest.raises(CheckpointError, match="is in use by another process"):
        exclusively(folder).__enter__()
    with exclusively(folder):
        pass


def test_half_a_file_does_not_stay(tmp_path, monkeypatch):
    def fail(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CheckpointError, match="free space, then --resume the run"):
        write_atomically(tmp_path / "model", b"weights")
    assert list(tmp_path.iterdir()) == []
