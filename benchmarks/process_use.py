"""What processes use, as Linux counts it: processor time, and memory with and without what is shared."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.real_clients import children_of

_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class Use:
    """Of one process or several.

    Args:
        seconds: processor time, of children that have ended as well.
        resident: MiB in memory, shared pages counted in each process.
        proportional: MiB, of shared pages each process's part (PSS).
        private: MiB that nobody shares and that would have to be written (Private_Dirty).
    """

    seconds: float
    resident: float
    proportional: float
    private: float

    def __add__(self, other: Use) -> Use:
        return Use(
            seconds=self.seconds + other.seconds,
            resident=self.resident + other.resident,
            proportional=self.proportional + other.proportional,
            private=self.private + other.private,
        )


_BETWEEN_LOOKS_SECONDS = 1.0  # a look at a large process takes milliseconds, and holds it up

NOTHING = Use(seconds=0.0, resident=0.0, proportional=0.0, private=0.0)


def family_of(pid: int) -> list[int]:
    """Return a process and all that it and its children started."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            found.extend(children_of(one))
    return found


def use_of(pids: Iterable[int]) -> Use:
    """Return what processes use together; of one that is gone, nothing."""
    total = NOTHING
    for pid in pids:
        with suppress(OSError):
            total += _use(pid)
    return total


def _use(pid: int) -> Use:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    memory = Path(f"/proc/{pid}/smaps_rollup").read_text()

    def mebibytes(name: str) -> float:
        match = re.search(rf"^{name}:\s+(\d+) kB", memory, re.MULTILINE)
        return int(match[1]) / _MIB if match else 0.0

    return Use(
        seconds=sum(map(int, fields[11:15])) / _TICKS,
        resident=mebibytes("Rss"),
        proportional=mebibytes("Pss"),
        private=mebibytes("Private_Dirty"),
    )


class Peak:
    """The most memory that this process and its children had together while somebody looked.

    It is in MiB and proportional (PSS), so that what processes share counts once.
    """

    def __init__(self) -> None:
        self.mebibytes = 0.0

    def look(self) -> None:
        """Note what they have now."""
        now = use_of(family_of(os.getpid())).proportional
        self.mebibytes = max(self.mebibytes, now)


@contextmanager
def peak_of_family() -> Iterator[Peak]:
    """Watch the memory of this process and its children, once a second."""
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(_BETWEEN_LOOKS_SECONDS):
            peak.look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        peak.look()
        over.set()
        watcher.join()
