"""A server and two clients, by the command and over TLS: what others on the machine see, and the status."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
from pathlib import Path

import pytest

from tests.deployed_server import deployment, wait_for
from tests.real_clients import Process, children_of, start_site

pytestmark = pytest.mark.xdist_group("deployment")

ROUNDS = 2


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, tiny_images):
    with deployment(tmp_path_factory.mktemp("fleet")) as server, contextlib.ExitStack() as stack:
        server.start()
        clients = [start_site(server, number, tiny_images, sites=2) for number in range(2)]
        for client in clients:
            stack.callback(client.kill)
        for client in clients:
            client.wait_for("connected as node", 180)
        yield server, clients


class ProcessList:
    """Notes every command line of the machine for as long as it is open, as any account could."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> ProcessList:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(file.read_bytes())


def only_nodes_run(clients: list[Process]) -> bool:
    """Say whether of each client nothing runs but itself and its SuperNode."""
    return all(len(children_of(client.popen.pid)) == 1 for client in clients)


@pytest.fixture(scope="module")
def finished(fleet, tiny_images) -> tuple[subprocess.CompletedProcess[str], set[bytes]]:
    server, clients = fleet
    wait_for(lambda: only_nodes_run(clients), 90)
    settings = {
        "federation.num-clients": 2,
        "federation.num-server-rounds": ROUNDS,
        "data.dataset": "folder",
        "data.data-dir": tiny_images,
        "training.sample-rate": 0.2,
        "privacy.noise-multiplier": 3.0,
    }
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    options += ["--out", str(server.folder / "run"), "--wait", "60"]
    with ProcessList() as processes:
        done = server.command("run", "--state", str(server.state), *options, seconds=400)
    return done, processes.seen


def test_no_token_or_secret_is_in_the_arguments_of_any_process(fleet, finished):
    server, _ = fleet
    done, seen = finished
    assert done.returncode == 0, done.stdout + done.stderr
    here = str(server.folder).encode()
    tasks = [words for words in seen if b"flwr-serverapp" in words and here in words]
    assert tasks, "the process of the ServerApp was never seen"
    assert all(b"--token-file\0/dev/fd/" in words and b"--token\0" not in words for words in tasks)
    files = [server.state / "superlink" / "control.secret"]
    files += [server.folder / f"site-{number}" / "node" / "worker.secret" for number in range(2)]
    secrets = [file.read_bytes() for file in files]
    for words in (words for words in seen if here in words):
        assert not re.search(rb"[0-9a-f]{64}", words), words
        for secret in secrets:
            assert secret not in words
            assert secret.hex().encode() not in words


def test_a_client_that_waits_holds_neither_images_nor_pytorch(fleet, finished):
    """Before the run, and again once the time is over for which its worker stays."""
    _, clients = fleet
    wait_for(lambda: only_nodes_run(clients), 90)
    for client in clients:
        assert client.said.count("answered with its update") == ROUNDS
        maps = Path(f"/proc/{client.popen.pid}/maps").read_text()
        assert "libtorch" not in maps
        (node,) = children_of(client.popen.pid)
        assert "libtorch" not in Path(f"/proc/{node}/maps").read_text()


def test_the_status_knows_what_is_left_of_each_budget(fleet, finished):
    server, _ = fleet
    told = json.loads(server.quick("status", "--state", str(server.state), "--json").out)
    report = json.loads((server.folder / "run" / "report.json").read_text())
    spent = max(client["budget"]["spent"] for client in told["clients"])
    assert spent == pytest.approx(report["epsilon"], rel=1e-3)
    for client in told["clients"]:
        assert client["status"] == "online"
        assert client["budget"]["budget"] == 8.0
        assert client["budget"]["left"] == pytest.approx(8.0 - client["budget"]["spent"])
    (run,) = told["runs"]
    assert (run["status"], run["round"], run["rounds"]) == ("finished:completed", ROUNDS, ROUNDS)
    assert f"{ROUNDS} of {ROUNDS}" in server.shown()
