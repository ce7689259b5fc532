"""A SuperLink on loopback and real `fedledger client` processes, none of which outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import fedledger
from server.deployment.superlink import free_port
from tests.deployed_server import Deployment, environment

ROOT = Path(__file__).parents[1]
SCRIPT = Path(fedledger.__file__)
BIN = Path(sys.executable).parent
POLICY = """\
epsilon = 8.0
least-noise-multiplier = 0.5
most-steps-a-round = 10
largest-clip = 2.0
least-examples = 10
permitted-releases = ["train"]
permitted-models = ["cnn"]
"""


class Process:
    """A process in a session of its own, with a log that can be waited for."""

    def __init__(self, command: Iterable[object], log: Path, home: Path) -> None:
        self.log = log
        home.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [str(part) for part in command],
                cwd=home,
                env=environment(home),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = 60) -> None:
        wait_until(lambda: text in self.said, seconds, lambda: f"no {text!r} in:\n{self.said[-3000:]}")

    def end(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Ask the process to end and return its exit status."""
        self.popen.send_signal(number)
        return self.popen.wait(timeout=seconds)

    def kill(self) -> None:
        """Kill the whole session: the process and what it started itself."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


class LoopbackServer(Process):
    """A SuperLink without TLS, which is for loopback only."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        command = [
            *(BIN / "flower-superlink", "--insecure", "--isolation", "subprocess"),
            *("--host", "127.0.0.1", "--port", self.port, "--database", folder / "state.db"),
            "--disable-runtime-dependency-installation",
        ]
        super().__init__(command, folder / "superlink.log", folder / "superlink-home")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def answers() -> bool:
            try:
                with opener.open(f"http://{self.address}/health", timeout=2):
                    return True
            except OSError:
                return False

        wait_until(answers, 60, lambda: self.said[-3000:])

    def flower_run(self, app: Path, settings: dict[str, object], seconds: float = 120) -> str:
        """Run `flwr run` and return what it printed, the run's log included."""
        home = self.folder / "cli-home"
        home.mkdir(exist_ok=True)
        connection = f'[superlink.here]\naddress = "{self.address}"\ninsecure = true\n'
        (home / "config.toml").write_text(connection)
        assignments = " ".join(f"{key}={as_toml(value)}" for key, value in settings.items())
        run = subprocess.run(
            [BIN / "flwr", "run", app, "here", "--stream", "--run-config", assignments],
            check=False,
            cwd=self.folder,
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        return run.stdout


class ClientProcess(Process):
    """`fedledger client`, for partition `number` of a data set or with options of its own."""

    def __init__(
        self, folder: Path, number: int, server: str, *arguments: object, policy: str = POLICY
    ) -> None:
        self.number = number
        self.state = folder / f"site-{number}"
        file = folder / f"policy-{number}.toml"
        file.write_text(policy)
        command = [
            *(sys.executable, SCRIPT, "client", "--insecure", "--server", server),
            *("--policy", file, "--state", self.state, *arguments),
        ]
        super().__init__(command, folder / f"client-{number}.log", folder / f"home-{number}")


def start_site(
    server: Deployment, number: int, images: Path, *, sites: int, permits: str = "", seed: int = 0
) -> Process:
    """Enrol a site at a server, and start its `fedledger client`, over TLS, on its part of some images.

    Args:
        permits: lines to add to its policy.
    """
    name = f"site-{number}"
    policy = server.folder / f"{name}.toml"
    server.enroll(name)
    policy.write_text(f"{POLICY}{permits}")
    command = [
        *(sys.executable, ROOT / "fedledger.py", "client", "--server", server.running["gateway"]),
        *("--ca", server.folder / "pki" / "ca.crt", "--key", server.folder / "keys" / name),
        *("--policy", policy, "--state", server.folder / name, "--partition", f"{number}/{sites}"),
        *("--set", "data.dataset=folder", "--set", f"data.data-dir={images}", "--keep-warm", "15"),
        *("--set", "data.partitioner=iid", "--set", "data.min-partition-size=1"),
        *("--set", f"runtime.seed={seed}"),
    ]
    return Process(command, server.folder / f"{name}.log", server.folder / f"home-{name}")


def children_of(pid: int) -> list[int]:
    """Return the processes that any thread of a process started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in tasks for child in file.read_text().split()]


def runs(pid: int) -> bool:
    """Say whether a process runs; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def as_toml(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise())
        time.sleep(0.1)
