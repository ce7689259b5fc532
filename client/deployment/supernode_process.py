"""The process that becomes SuperNode: the stock command, and gone when its client is.

Standard library alone, and run by its path: nothing of a client's own is imported into this process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from importlib.metadata import entry_points

_LOOP_ENDED = 75
"""Exit status when SuperNode's loop ends by itself."""


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
        command.load()()
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 - raised further, it would leave that thread, and so this process, alive
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def _end_with_the_client() -> None:
    """End in order, giving the server its session back, when standard input ends: with the client."""
    while sys.stdin.buffer.read(4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
