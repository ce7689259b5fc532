"""kill -9 before every call that changes the disk: no confirmed leaf is lost, the log goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from common.ledger.keys import SigningKey
from common.transparency.log import ServerLog
from common.transparency.note import open_checkpoint
from common.transparency.view import read_log
from tests.dying import killed_at

CALLS = ("write", "pwrite", "fsync", "replace", "unlink", "ftruncate", "open", "mkdir")


def confirm(folder: Path, log: ServerLog) -> None:
    """Keep a checkpoint as a client does: by a way that the crash does not count."""
    with (folder.parent / f"held-{log.size}").open("w") as file:
        file.write(log.checkpoint)


def check_goes_on(folder: Path, key: SigningKey, origin: str) -> int:
    """Hold the log against every confirmed checkpoint, append to it, and return its size before."""
    held = sorted(folder.parent.glob("held-*"))
    with ServerLog.open(folder, key, origin) as log:
        size = log.size
        view = read_log(folder, key.public, origin)
        assert view.lines == log.lines
        assert view.surplus == 0
        for path in held:
            assert view.contains(open_checkpoint(path.read_text(), key.public, origin))
        assert [leaf["number"] for leaf in view.leaves] == list(range(size))
        log.append([{"number": size}])
    assert [json.loads(line)["number"] for line in log.lines] == list(range(size + 1))
    assert read_log(folder, key.public, origin).lines == log.lines
    return size


def test_appending(key, origin, tmp_path):
    """Two appends, of one leaf and of three, to a log of three leaves that a crash left torn lines in."""
    start = tmp_path / "start"
    with ServerLog.open(start, key, origin) as log:
        log.append([{"number": number} for number in range(3)])
    with (start / "log.jsonl").open("ab") as file:
        file.write(b'{"number":77}\n{"numb')
    folder = tmp_path / "work" / "server"

    def append_twice() -> None:
        with ServerLog.open(folder, key, origin) as log:
            confirm(folder, log)
            log.append([{"number": 3}])
            confirm(folder, log)
            log.append([{"number": number} for number in (4, 5, 6)])
            confirm(folder, log)

    deaths, sizes = 0, []
    for number in range(1, 100):
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(start, folder)
        died = killed_at(number, append_twice, CALLS)
        deaths += died
        confirmed = max((int(path.name[5:]) for path in folder.parent.glob("held-*")), default=3)
        size = check_goes_on(folder, key, origin)
        following = {3: 4, 4: 7, 7: 7}
        assert size in (confirmed, following[confirmed])
        sizes.append(size)
        if not died:
            break
    assert deaths >= 20
    assert sizes == sorted(sizes)
    assert set(sizes) == {3, 4, 7}


def test_beginning(tmp_path, key, origin):
    folder = tmp_path / "home" / "server"
    folder.parent.mkdir()
    deaths = 0
    for number in range(1, 100):
        shutil.rmtree(folder, ignore_errors=True)
        died = killed_at(number, lambda: ServerLog.open(folder, key, origin).close(), CALLS)
        deaths += died
        assert check_goes_on(folder, key, origin) == 0
        if not died:
            break
    assert deaths >= 10
