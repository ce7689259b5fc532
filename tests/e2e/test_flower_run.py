"""`flwr run`, on Flower's own simulation runtime, gives the same bits as `simulate`."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from common.audit.auditor import audit
from common.config import resolve
from common.ledger import Release, read_ledger
from common.run_folder import RunFolder
from simulations import simulate
from tests.deployed_server import environment
from tests.made_images import make_images

pytest.importorskip("ray", reason="Flower's simulation runtime needs ray (pip install 'flwr[simulation]')")
import psutil  # ray brings it

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
CLIENTS, ROUNDS, WORKERS = 3, 4, 2
TIME_LIMIT = 240


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"), {"train": 45, "test": 10})


def settings(images: Path, out: Path) -> dict[str, object]:
    return {
        "federation.num-clients": CLIENTS,
        "federation.num-server-rounds": ROUNDS,
        "data.dataset": "folder",
        "data.data-dir": str(images),
        "data.augmentation": "flip-crop",
        "training.local-steps": 2,
        "privacy.reproducible-noise": True,
        "runtime.seed": 5,
        "runtime.out": str(out),
    }


class Flower:
    """A SuperLink of one test: its own home, its own ports, and none of its processes left behind."""

    def __init__(self, folder: Path) -> None:
        self.deadline = time.monotonic() + TIME_LIMIT
        self._folder = folder
        self._port, control_port = free_ports(2)
        self._environment = {
            **environment(folder / "home"),
            "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(self._port),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        arguments = [
            *("--insecure", "--simulation", "--isolation", "subprocess"),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            *("--control-api-address", f"127.0.0.1:{control_port}"),
        ]
        self._log = folder / "superlink.log"
        # `flwr run` would start this one itself, but waits for it for 15 seconds only and leaves it running.
        # It runs outside the repository, so that the apps come from the bundle and from nowhere else.
        with self._log.open("wb") as log:
            self._superlink = subprocess.Popen(
                [BIN / "flower-superlink", *arguments],
                cwd=folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Flower:
        return self

    def __exit__(self, *_: object) -> None:
        superlink = psutil.Process(self._superlink.pid)
        family = [*superlink.children(recursive=True), superlink]
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._superlink.wait()
        psutil.wait_procs(family, timeout=10)

    def wait_until_ready(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while self._superlink.poll() is None and time.monotonic() < self.deadline:
            try:
                with opener.open(f"http://127.0.0.1:{self._port}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"the SuperLink did not come up:\n{self.tail()}")

    def run(self, *arguments: str) -> str:
        """Run `flwr run` on the repository and return what it printed, the run's log included."""
        command = [BIN / "flwr", "run", ROOT, "--stream", *arguments]
        try:
            done = subprocess.run(
                command,
                check=False,
                cwd=self._folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=max(1.0, self.deadline - time.monotonic()),
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")
            pytest.fail(
                f"`flwr run` did not end within {TIME_LIMIT} s:\n{said[-3000:]}\nSuperLink:\n{self.tail()}"
            )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\nSuperLink:\n{self.tail()}"
        return done.stdout

    def tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def as_toml(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)


@pytest.fixture(scope="module")
def in_process(images, tmp_path_factory) -> RunFolder:
    out = tmp_path_factory.mktemp("in-process") / "run"
    return simulate(resolve(settings(images, out), {"runtime.workers": 1})).folder


@pytest.fixture(scope="module")
def under_flower(images, tmp_path_factory) -> RunFolder:
    folder = tmp_path_factory.mktemp("flower")
    out = folder / "run"
    assignments = " ".join(f"{key}={as_toml(value)}" for key, value in settings(images, out).items())
    federation = f"num-supernodes={CLIENTS} client-resources-num-cpus=1 init-args-num-cpus={WORKERS}"
    with Flower(folder) as flower:
        flower.wait_until_ready()
        said = flower.run("--federation-config", federation, "--run-config", assignments)
        assert f"all {ROUNDS} rounds are done" in said, f"{said[-3000:]}\nSuperLink:\n{flower.tail()}"
    return RunFolder(out)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def released(folder: RunFolder, client: int) -> list[str]:
    entries = read_ledger(folder.ledger(client)).entries
    return [entry.body.update for entry in entries if isinstance(entry.body, Release)]


@pytest.mark.xdist_group("flower")
def test_the_model_is_the_same_bit_for_bit(in_process, under_flower):
    assert sha256(under_flower.model) == sha256(in_process.model)


@pytest.mark.xdist_group("flower")
def test_every_client_charges_and_releases_the_same(in_process, under_flower):
    for client in range(CLIENTS):
        ledger = read_ledger(under_flower.ledger(client))
        assert ledger.mechanisms() == read_ledger(in_process.ledger(client)).mechanisms()
        assert len(ledger.reservations()) == ROUNDS
        assert released(under_flower, client) == released(in_process, client)


@pytest.mark.xdist_group("flower")
def test_the_folder_passes_the_audit_with_the_same_epsilon(in_process, under_flower):
    report = audit(under_flower.root)
    assert not report.findings
    assert report.epsilon == audit(in_process.root).epsilon
