"""Run something in a process that is killed, as by `kill -9`, before its n-th call that changes the disk."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence

DISK_CALLS = ("write", "pwrite", "fsync", "link", "replace", "unlink", "ftruncate", "open")


def killed_at(number: int, work: Callable[[], object], calls: Sequence[str] = DISK_CALLS) -> bool:
    """Run `work` in a child that dies before its n-th of some calls of `os`; say whether it died."""
    child = os.fork()
    if child == 0:
        _die_before(number, calls)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)  # rather than go on as a second test run
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0
    return os.WIFSIGNALED(status)


def _die_before(number: int, calls: Sequence[str]) -> None:
    done = [0]

    def deadly(call: Callable[..., object], *, halves: bool) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            done[0] += 1
            if done[0] == number:
                if halves:
                    descriptor, data, *place = args
                    call(descriptor, data[: len(data) // 2], *place)
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return counted

    for name in calls:
        setattr(os, name, deadly(getattr(os, name), halves=name.endswith("write")))
