"""One server and its clients, alive over many runs, and the runs that an operator makes on them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.links import Link, NamespaceLink, ProxyLink
from benchmarks.faults.services import Service, campaign_environment, kill
from common.run_folder import LedgerHome, RunFolder
from server.deployment.state_folder import StateFolder
from server.deployment.superlink import free_port
from tests.command_line import run_command
from tests.made_images import make_images
from tests.real_clients import POLICY, SCRIPT, wait_until

SETTINGS = {
    "federation.min-train-clients": 1,
    "data.dataset": "folder",
    "data.partitioner": "iid",
    "data.min-partition-size": 1,
    "training.sample-rate": 0.2,
    "training.local-steps": 8,
    "privacy.noise-multiplier": 30,
    "privacy.epsilon": 50.0,
    "runtime.device": "cpu",
}
_RESUME_SECONDS = 2.0


class Fleet:
    """A server and clients, kept running by a stand-in for systemd.

    Args:
        folder: where everything of it lies.
        clients: how many.
        net: names this fleet's addresses and namespaces; None has proxies instead.
    """

    def __init__(self, folder: Path, clients: int, net: int | None) -> None:
        self.folder = folder
        self.links: list[Link] = []
        self.clients: list[Service] = []
        self.images = make_images(folder / "images", {"train": 12 * clients, "test": 2})
        try:
            for number in range(clients):
                self.links.append(ProxyLink() if net is None else NamespaceLink(number, net))
            self.port = int(free_port())
            self.server = Service(self._serve(), folder / "server.log", folder / "server")
            wait_until((folder / "state/server.json").exists, 90, lambda: self.server.said)
            for number in range(clients):
                self.clients.append(self._client(number))
            for client in self.clients:
                client.wait_for("connected as node")
        except BaseException:
            self.close()
            raise

    @property
    def state(self) -> StateFolder:
        """The server's folder."""
        return StateFolder(self.folder / "state")

    def home(self, number: int) -> LedgerHome:
        """Return where a client keeps its ledger."""
        return LedgerHome(self.folder / f"site-{number}")

    def close(self) -> None:
        """End everything."""
        for client in self.clients:
            client.ask_to_end()
        for service in [*self.clients, *([self.server] if hasattr(self, "server") else [])]:
            service.stop()
        for link in self.links:
            link.close()

    def _serve(self) -> list[object]:
        hosts = [part for link in self.links for part in ("--host", link.host)]
        _quick("pki", "init", str(self.folder / "pki"), *hosts)
        options = ["--state", self.folder / "state", "--host", "0.0.0.0", "--port", self.port]
        return [sys.executable, SCRIPT, "server", "--pki", self.folder / "pki", *options]

    def _client(self, number: int) -> Service:
        name, link = f"site-{number}", self.links[number]
        _quick("pki", "client", str(self.folder / "keys"), name)
        _quick("enroll", str(self.folder / "keys" / f"{name}.pub"), "--state", str(self.folder / "state"))
        policy = self.folder / "policy.toml"
        policy.write_text(POLICY.replace("epsilon = 8.0", "epsilon = 50.0"))
        given = {"data.dataset": "folder", "data.data-dir": self.images, "data.partitioner": "iid"}
        given |= {"data.min-partition-size": 1, "runtime.device": "cpu"}
        command = [
            *(*link.prefix, sys.executable, SCRIPT, "client", "--server", link.address(self.port)),
            *("--ca", self.folder / "pki/ca.crt", "--key", self.folder / "keys" / name),
            *("--policy", policy, "--state", self.home(number).root, "--log-format", "json"),
            *("--partition", f"{number}/{len(self.links)}"),
            *(part for key, value in given.items() for part in ("--set", f"{key}={value}")),
        ]
        return Service(command, self.folder / f"{name}.log", self.folder / f"home-{number}")


@contextmanager
def fleet(folder: Path, clients: int, net: int | None) -> Iterator[Fleet]:
    """Start a fleet, and end all of it."""
    made = Fleet(folder, clients, net)
    try:
        yield made
    finally:
        made.close()


class Operator:
    """Makes one run, and continues it with `fedledger run --resume` until it is done.

    Args:
        fleet: on which.
        out: the run's folder.
        rounds: how many it has.
        timeout: seconds of a round, for those who do not answer.
    """

    def __init__(self, fleet: Fleet, out: Path, rounds: int, timeout: float) -> None:
        self.folder = RunFolder(out)
        self.log = out.with_suffix(".log")
        self.commands = 0
        self.statuses: list[int] = []
        self._fleet = fleet
        self._settings = {
            **SETTINGS,
            "federation.num-clients": len(fleet.clients),
            "federation.num-server-rounds": rounds,
            "federation.round-timeout-seconds": timeout,
            "data.data-dir": fleet.images,
        }
        self._stopping = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether all rounds are done and the command has said so."""
        return not self._thread.is_alive() and not self._stopping.is_set()

    @property
    def said(self) -> str:
        """All that the commands said."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self) -> bool:
        """Kill the command that is at work; return whether there was one."""
        process = self.process
        if process is None or process.poll() is not None:
            return False
        kill([process.pid])
        return True

    def stop(self) -> None:
        """Make no further attempt, and end the one that is under way."""
        self._stopping.set()
        self.kill()
        self._thread.join()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self.process = self._start()
            self.statuses.append(self.process.wait())
            if self.statuses[-1] in (0, 1) and self._is_over():
                return
            self._stopping.wait(_RESUME_SECONDS)

    def _is_over(self) -> bool:
        state = self.folder.checkpoint / "state.json"
        return state.exists() and json.loads(state.read_text())["ended"].startswith("all ")

    def _start(self) -> subprocess.Popen[bytes]:
        self.commands += 1
        command = [sys.executable, SCRIPT, "run", "--state", self._fleet.state.root, "--wait", "120"]
        if self.folder.config.exists():
            command += ["--resume", self.folder.root, "--clients", 2]
        else:
            command += ["--out", self.folder.root, "--clients", len(self._fleet.clients)]
            command += [part for k, v in self._settings.items() for part in ("--set", f"{k}={v}")]
        home = self._fleet.folder / "operator"
        home.mkdir(exist_ok=True)
        with self.log.open("ab") as output:
            output.write(f"\n--- {time.strftime('%X')} {' '.join(map(str, command[2:9]))}\n".encode())
            output.flush()
            return subprocess.Popen(
                [str(part) for part in command],
                cwd=home,
                env=campaign_environment(home),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _quick(*arguments: str) -> None:
    outcome = run_command(*arguments)
    if outcome.status != 0:
        raise RuntimeError(f"fedledger {' '.join(arguments)}: {outcome.err}")
