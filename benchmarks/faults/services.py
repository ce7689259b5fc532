"""Processes that are started again when they die, as systemd would (`Restart=always`, `RestartSec=1`)."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.deployed_server import environment
from tests.real_clients import children_of, wait_until

RESTART_SECONDS = 1.0


def campaign_environment(home: Path) -> dict[str, str]:
    """Return the environment of every process: no proxy stands between machines that are one."""
    kept = {k: v for k, v in environment(home).items() if k.lower() not in ("http_proxy", "https_proxy")}
    return {**kept, "NO_PROXY": "*", "no_proxy": "*"}


class Service:
    """One command, kept running until `stop`.

    Args:
        command: with its arguments.
        log: where all that it says goes.
        home: its working folder and FLWR_HOME.
    """

    def __init__(self, command: Sequence[object], log: Path, home: Path) -> None:
        self._command = [str(part) for part in command]
        self.log = log
        self._home = home
        self._stopping = threading.Event()
        self.starts = 0
        home.mkdir(parents=True, exist_ok=True)
        self.process = self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    @property
    def said(self) -> str:
        """All that it said so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until it says something."""
        wait_until(lambda: text in self.said, 120, lambda: f"no {text!r} in:\n{self.said[-3000:]}")

    def family(self) -> list[int]:
        """Return the process and all that descend from it, the eldest first."""
        return descendants(self.process.pid)

    def kill(self, *, whole: bool = False) -> None:
        """Kill the process, or all that descend from it as well, as a machine that loses its power."""
        kill(self.family() if whole else [self.process.pid])

    def ask_to_end(self) -> None:
        """Tell it to end, for good."""
        self._stopping.set()
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it for good, in order if it can be."""
        family = self.family()
        self.ask_to_end()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(25)
        kill(family)
        self.process.wait()
        self._keeper.join()

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self._command,
                cwd=self._home,
                env=campaign_environment(self._home),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _keep(self) -> None:
        while True:
            self.process.wait()
            if self._stopping.wait(RESTART_SECONDS):
                return
            self.process = self._start()


def descendants(pid: int) -> list[int]:
    """Return a process and all that descend from it, the eldest first."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            found.extend(children_of(one))
    return found


def words_of(pid: int) -> str:
    """Return a process's command line, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def kill(numbers: Sequence[int]) -> None:
    """Kill processes, by their numbers."""
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
