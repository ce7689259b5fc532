"""The process that becomes SuperNode: the stock command, and gone when its client is.

Standard library alone, and run by its path: nothing of a client's own is imported into this process.

Stock SuperNode waits three seconds between two questions for a message, and half a second between two looks
for its client's answer: in a run of short rounds that is nearly all of a round. Here it waits for less while
messages come.

When its server is away, stock SuperNode tries again after pauses of up to 20 seconds, and the threads that
fetch a message's parts pause one after the other: it can be minutes until it notices that the server is back.
Here each pauses by itself, and for a few seconds.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

_LOOP_ENDED = 75
"""Exit status when SuperNode's loop ends by itself."""

LOOP = "flwr.supernode.start_client_internal"
"""The module whose `time` is replaced."""

_ANSWER_PAUSE, _MESSAGE_PAUSE = 0.1, 1.0
_QUICK_ANSWERS = 50
"""So many looks for an answer follow each other quickly; longer training is looked for as before."""
_LIVELY_SECONDS = 15.0
"""So long after an answer, another message is soon to come; later it is asked for as seldom as before."""

CONNECTION, RETRIES = "flwr.supernode.fleet_http_connection", "make_simple_http_retry_invoker"
"""The module, and its name for what calls a server again and again."""

_LONGEST_PAUSE = 5.0


class LivelyClock:
    """The module `time`, as SuperNode's loop uses it: waits are shorter while messages come."""

    def __init__(self) -> None:
        self._looks = 0
        self._answered = -_LIVELY_SECONDS

    def __getattr__(self, name: str) -> Any:
        """Return whatever else the module holds."""
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Wait, for as long as is asked or for less."""
        if seconds < 1.0:  # for the client's answer
            self._looks += 1
            self._answered = time.monotonic()
            time.sleep(_ANSWER_PAUSE if self._looks <= _QUICK_ANSWERS else seconds)
            return
        self._looks = 0
        lively = time.monotonic() - self._answered < _LIVELY_SECONDS
        time.sleep(_MESSAGE_PAUSE if lively else seconds)


def main() -> None:
    """Run `flower-supernode` with this process's arguments, and end when it, or the client, does.

    Stock SuperNode swallows whatever ends its loop, and would then live on, deaf, by a thread of its own.
    """
    os.umask(0o077)
    threading.Thread(target=_end_with_the_client, daemon=True).start()
    (command,) = entry_points(group="console_scripts", name="flower-supernode")
    sys.argv[0] = "flower-supernode"
    status: object = _LOOP_ENDED
    try:
        run = command.load()
        with suppress(ImportError):
            import_module(LOOP).__dict__["time"] = LivelyClock()
            connection = import_module(CONNECTION).__dict__
            connection[RETRIES] = soon_again(connection[RETRIES])
        run()
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 - raised further, it would leave that thread, and so this process, alive
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def soon_again(make: Callable[[], Any]) -> Callable[[], Any]:
    """Return a maker of what calls a server again and again, with shorter pauses than `make` gives it."""

    def made() -> Any:
        invoker = make()
        invoker.wait_gen_factory = _pauses
        invoker.wait_function = _wait
        return invoker

    return made


def _pauses() -> Iterator[float]:
    """Yield seconds to wait: doubled, and a little off by chance, as clients are not to come all at once."""
    pause = 1.0
    while True:
        yield pause * random.uniform(0.8, 1.2)  # noqa: S311 - nothing secret
        pause = min(2 * pause, _LONGEST_PAUSE)


def _wait(seconds: float) -> None:
    """Say and wait, this thread alone."""
    logging.getLogger("flwr").warning("Connection attempt failed, retrying in %.2f seconds", seconds)
    time.sleep(seconds)


def _end_with_the_client() -> None:
    """End in order, giving the server its session back, when standard input ends: with the client."""
    while sys.stdin.buffer.read(4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
