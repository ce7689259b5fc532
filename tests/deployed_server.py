"""`fedledger server` as a process, with stock SuperNodes that reach it through its gateway."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fedledger
from server.deployment.superlink import free_port
from tests.command_line import Outcome, run_command

BIN = Path(sys.executable).parent
SCRIPT = fedledger.__file__


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a Flower process with a home of its own."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


@dataclass
class Deployment:
    """A server and what belongs to it, below one folder."""

    folder: Path
    server: subprocess.Popen[bytes] | None = None
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The server's folder."""
        return self.folder / "state"

    @property
    def running(self) -> dict[str, str]:
        """What the server announces."""
        found: dict[str, str] = json.loads((self.state / "server.json").read_text())
        return found

    @property
    def log(self) -> str:
        """The server's own log."""
        return (self.folder / "server.log").read_text(errors="replace")

    def quick(self, *arguments: str) -> Outcome:
        """Run a command that needs no process of its own; paths are absolute."""
        return run_command(*arguments)

    def command(self, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command of fedledger to its end, from another folder than the repository."""
        return subprocess.run(
            [sys.executable, SCRIPT, *arguments],
            cwd=self.folder,
            env=environment(self.folder / "home"),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def start(self, *options: str) -> None:
        """Start the server and wait until it serves."""
        if not (self.folder / "pki").exists():
            folder = str(self.folder / "pki")
            made = self.quick("pki", "init", folder, "--host", "localhost", "--host", "127.0.0.1")
            assert made.status == 0, made.err
        arguments = ["server", "--pki", "pki", "--state", str(self.state), "--port", "0", *options]
        with (self.folder / "server.log").open("ab") as log:
            server = self.server = subprocess.Popen(
                [sys.executable, SCRIPT, *arguments],
                cwd=self.folder,
                env=environment(self.folder / "home"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: (self.state / "server.json").exists() or server.poll() is not None, 60)
        assert server.poll() is None, self.log

    def enroll(self, name: str) -> None:
        """Make a key and let it connect."""
        self.make_key(name)
        done = self.quick("enroll", str(self.folder / "keys" / f"{name}.pub"), "--state", str(self.state))
        assert done.status == 0, done.err

    def make_key(self, name: str) -> None:
        """Make a node's key."""
        assert self.quick("pki", "client", str(self.folder / "keys"), name).status == 0

    def shown(self) -> str:
        """Return what `fedledger status` says, or why it does not."""
        outcome = self.quick("status", "--state", str(self.state))
        return outcome.out + outcome.err

    def status_of(self, name: str) -> str:
        """Return a client's status."""
        line = next((line for line in self.shown().splitlines() if name in line), "││││")
        return line.split("│")[3].strip()

    def start_node(self, name: str, partition: int, partitions: int) -> subprocess.Popen[bytes]:
        """Start a stock SuperNode with its key."""
        return self.start_supernode(
            name,
            *("--root-certificates", "pki/ca.crt"),
            *("--auth-supernode-private-key", f"keys/{name}"),
            *("--node-config", f"partition-id={partition} num-partitions={partitions}"),
        )

    def start_supernode(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a stock SuperNode."""
        place = ("--superlink", self.running["gateway"], "--host", "127.0.0.1", "--port", str(free_port()))
        with (self.folder / f"{name}.log").open("ab") as log:
            self.nodes[name] = subprocess.Popen(
                [BIN / "flower-supernode", *place, *options],
                cwd=self.folder,
                env=environment(self.folder / f"home-{name}"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.nodes[name]

    def said(self, name: str) -> str:
        """Return what a node said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def processes(self) -> dict[int, str]:
        """Return every live process that names the server's folder in its arguments, with them."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if str(self.state) in words:
                        found[int(entry.name)] = words
        return found

    def end(self) -> None:
        """End all that was begun, by its number, the stubborn by force."""
        begun = [*self.nodes.values(), *([self.server] if self.server else [])]
        for process in begun:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in begun:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for number in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come within {seconds} s"
        time.sleep(0.1)


@contextlib.contextmanager
def deployment(folder: Path) -> Iterator[Deployment]:
    """Return a deployment below a folder; nothing of it is left running."""
    made = Deployment(folder)
    try:
        yield made
    finally:
        made.end()
