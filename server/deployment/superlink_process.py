"""The process that becomes SuperLink: guarded on loopback as well, and gone when its server is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from common.flower_internals.fleet_guard import guard_fleet_api
from common.flower_internals.superlink import guard_control_api, run_superlink
from server.deployment.limits import Limits

_PAUSE_SECONDS = 1.0


def main() -> None:
    """Run SuperLink with the arguments after the secret's file and those of its SuperExec (up to `--`)."""
    secret_file, *arguments = sys.argv[1:]
    between = arguments.index("--")
    superexec, superlink = arguments[:between], arguments[between + 1 :]
    os.umask(0o077)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    threading.Thread(target=_keep_superexec, args=(superexec,), daemon=True).start()
    guard_control_api(Path(secret_file).read_text(encoding="ascii"))
    guard_fleet_api(Limits().reply_bytes)
    sys.argv = ["flower-superlink", *superlink]
    run_superlink()


def _end_with_the_server() -> None:
    """End in order once standard input ends, which it does however the server ends."""
    while sys.stdin.buffer.read(4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def _keep_superexec(arguments: list[str]) -> None:
    """Keep the process that starts ServerApps; it ends by itself when this one does."""
    launcher = [sys.executable, "-m", "server.deployment.superexec_process"]
    command = [*launcher, *arguments, "--parent-pid", str(os.getpid())]
    while True:
        subprocess.run(command, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - our own arguments
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main()
