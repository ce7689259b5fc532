"""What Ctrl-C means while something long goes on: stop in order, and at once when it is pressed again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Stoppable(Protocol):
    """What can be asked to stop in order."""

    @property
    def stop_requested(self) -> bool:
        """Whether it was asked."""

    def request_stop(self) -> None:
        """Ask it."""


@contextmanager
def interruptible(work: Stoppable) -> Iterator[None]:
    """Have the first Ctrl-C ask `work` to stop, and the second one end it with KeyboardInterrupt."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if work.stop_requested:
            raise KeyboardInterrupt
        work.request_stop()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
