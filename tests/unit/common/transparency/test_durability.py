"""The order in which a log reaches the disk: a power cut leaves no less than what was confirmed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.transparency.log import ServerLog


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, str]]:
    """Calls that change the disk, in order, each with the name of its file."""
    calls: list[tuple[str, str]] = []

    def recorded(name: str) -> None:
        call = getattr(os, name)

        def record(target: int | Path, *rest: object) -> object:
            path = Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else target
            calls.append((name, path.name))
            return call(target, *rest)

        monkeypatch.setattr(os, name, record)

    for name in ("pwrite", "write", "fsync", "replace", "ftruncate"):
        recorded(name)
    return calls


def test_lines_are_durable_before_they_are_signed_and_both_before_they_are_confirmed(log, calls):
    log.append([{"number": 0}, {"number": 1}])
    assert calls == [
        ("pwrite", "log.jsonl"),
        ("fsync", "log.jsonl"),
        ("write", ".checkpoint.tmp"),
        ("fsync", ".checkpoint.tmp"),
        ("replace", ".checkpoint.tmp"),
        ("fsync", "server"),
    ]


def test_what_a_killed_process_left_in_memory_is_durable_before_it_is_relied_on(twenty, key, origin, calls):
    (twenty / "log.jsonl").open("ab").write(b"torn")
    with ServerLog.open(twenty, key, origin):
        assert calls == [("ftruncate", "log.jsonl"), ("fsync", "log.jsonl"), ("fsync", "server")]


def test_a_new_log_is_durable_with_its_folder(folder, key, origin, calls):
    with ServerLog.open(folder, key, origin):
        assert calls[0] == ("fsync", folder.parent.name)
        assert calls[-2:] == [("fsync", "log.jsonl"), ("fsync", "server")]
