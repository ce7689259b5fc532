"""A worker as a child process, as its client sees it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import common
from client.deployment.orders import ENDED, Opening, Order, Word

_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from client.deployment.worker_process import main; main()"
)

Report = dict[str, Any]


class WorkerChild:
    """One worker, from its first order to its end.

    Args:
        opening: its first order.
        lock: a descriptor that it inherits, so that the client's folder stays locked until it is gone.
        tell: takes each of its reports, and at last that it ended; called by a thread of its own.
    """

    def __init__(self, opening: Opening, lock: int, tell: Callable[[WorkerChild, Report], None]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            [sys.executable, "-P", "-c", _START, str(_root())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is for the client, which lets a round be finished
        )
        self._tell = tell
        self.is_open = self.is_busy = self.is_finishing = False
        self.order(opening)
        self._reader = threading.Thread(target=self._read, name="reports", daemon=True)
        self._reader.start()

    def order(self, order: Order) -> None:
        """Give an order; one that is gone hears none."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self.is_finishing = self.is_finishing or order is Word.FINISH
        with suppress(OSError, ValueError):
            pickle.dump(order, self._process.stdin)
            self._process.stdin.flush()

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with self._process.stdout as reports:
            for line in reports:
                with suppress(ValueError):
                    self._tell(self, json.loads(line))
        status = self._process.wait()
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(OSError):
            self._process.stdin.close()
        self._tell(self, {"event": ENDED, "status": status})


def _root() -> Path:
    """Return the folder that holds the program's packages."""
    return Path(os.path.abspath(next(iter(common.__path__)))).parent  # noqa: PTH100 - links stay as they are
