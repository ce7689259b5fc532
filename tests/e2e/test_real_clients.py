"""Two `fedledger client` processes and a SuperLink on loopback: a run, refusals, and how clients end."""

from __future__ import annotations

import json
import re
import shutil
import signal

import pytest

from common.audit.auditor import audit
from common.config import resolve
from common.ledger import Acknowledged, Genesis, Release, Reserve, read_ledger
from common.run_folder import LedgerHome
from simulations import simulate
from tests.real_clients import POLICY, ROOT, ClientProcess, LoopbackServer, children_of, runs, wait_until

pytestmark = pytest.mark.xdist_group("deployment")

ROUNDS, SEED = 2, 5


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process = LoopbackServer(tmp_path_factory.mktemp("server"))
    yield process
    process.kill()


@pytest.fixture(scope="module")
def clients(server, tiny_images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clients")
    data = ["data.dataset=folder", f"data.data-dir={tiny_images}", "data.partitioner=iid"]
    data += ["data.min-partition-size=1", f"runtime.seed={SEED}"]
    options = [part for text in data for part in ("--set", text)]
    policy = f"{POLICY}permit-reproducible-noise = true\n"
    started = [
        ClientProcess(
            folder,
            number,
            server.address,
            *("--partition", f"{number}/2", *options, "--log-format", "json"),
            policy=policy,
        )
        for number in range(2)
    ]
    try:
        server.wait_until_ready()
        for client in started:
            client.wait_for("connected as node")
        yield started
    finally:
        for client in started:
            client.kill()


@pytest.fixture(scope="module")
def settings(server, tiny_images):
    def make(out: str, changes: dict[str, object] | None = None) -> dict[str, object]:
        return {
            "federation.num-clients": 2,
            "federation.num-server-rounds": ROUNDS,
            "data.dataset": "folder",
            "data.data-dir": str(tiny_images),
            "training.sample-rate": 0.2,
            "privacy.noise-multiplier": 3.0,
            "runtime.out": str(server.folder / out),
            "runtime.ledgers": str(server.folder / "home"),
            **(changes or {}),
        }

    return make


@pytest.fixture(scope="module")
def finished(server, clients, settings) -> str:
    return server.flower_run(ROOT, settings("run"))


def entries(client: ClientProcess) -> list[type]:
    return [type(entry.body) for entry in read_ledger(LedgerHome(client.state).ledger(client.number)).entries]


def test_a_run_over_real_clients_ends_and_its_audit_finds_nothing(server, clients, finished):
    assert f"all {ROUNDS} rounds are done" in finished, finished[-3000:]
    report = audit(server.folder / "run")
    assert not report.findings
    assert 0 < report.epsilon <= 8.0


def test_each_client_charged_each_round_once_in_a_ledger_of_its_own(clients, finished):
    for client in clients:
        assert entries(client) == [Genesis, *[Reserve, Release, Acknowledged] * ROUNDS]
        assert len(list((client.state / "updates").iterdir())) == 1
        assert not list((client.state / "node").glob("apps/*"))  # no bundle was unpacked


def test_logs_are_lines_of_json_without_keys(clients, finished):
    for client in clients:
        lines = [json.loads(line) for line in client.said.splitlines()]
        assert {"time", "level", "component", "message"} <= set.intersection(*map(set, lines))
        asked = [line["group"] for line in lines if line.get("answer") == "update"]
        assert asked == ["1", "2"]
        secret = (client.state / "node" / "worker.secret").read_bytes()
        assert secret.hex() not in client.said


def test_the_same_seed_in_a_simulation_gives_the_same_model(server, clients, finished, settings):
    seeded = {
        "privacy.reproducible-noise": True,
        "data.partitioner": "iid",
        "data.min-partition-size": 1,
        "runtime.seed": SEED,
    }
    said = server.flower_run(ROOT, settings("seeded", seeded))
    assert f"all {ROUNDS} rounds are done" in said, said[-3000:]
    alone = {"runtime.out": str(server.folder / "alone"), "runtime.ledgers": "", "runtime.workers": 1}
    simulate(resolve(settings("alone", seeded), alone))
    models = [(server.folder / out / "model.safetensors").read_bytes() for out in ("seeded", "alone")]
    assert models[0] == models[1]


def test_another_program_is_refused_and_never_imported(server, clients, finished, settings, tmp_path):
    before = [entries(client) for client in clients]
    app, marker = tmp_path / "hostile", tmp_path / "imported"
    app.mkdir()
    shutil.copy(ROOT / "pyproject.toml", app)
    for package in ("client", "common", "server"):
        shutil.copytree(ROOT / package, app / package, ignore=shutil.ignore_patterns("__pycache__"))
    line = f"\n__import__('pathlib').Path({str(marker)!r}).touch()\n"
    with (app / "client" / "app.py").open("a") as file:
        file.write(line)
    said = server.flower_run(app, settings("hostile"))
    assert re.search(r"no client could join: client [01] did not join: the server's app", said), said[-3000:]
    assert "client/app.py differs" in said
    assert not marker.exists()
    assert [entries(client) for client in clients] == before


def test_a_proposal_outside_the_policy_is_refused_in_words(server, clients, finished, settings):
    before = [entries(client) for client in clients]
    said = server.flower_run(ROOT, settings("greedy", {"privacy.noise-multiplier": 0.4}))
    assert "noise multiplier 0.4 is below its policy's 0.5" in said, said[-3000:]
    assert [entries(client) for client in clients] == before


def test_a_client_ends_in_order_when_asked_and_its_node_ends_with_it_when_killed(server, clients, finished):
    first, second = clients
    assert first.end(signal.SIGTERM) == 0
    assert "ended as it was asked to" in first.said
    node, *workers = children_of(second.popen.pid)
    assert len(workers) == 1
    second.kill()
    for process in (node, *workers):
        wait_until(lambda p=process: not runs(p), 20, lambda p=process: f"{p} outlived its client")
    wait_until(lambda: server.said.count("Deactivated node_id") >= 2, 20, lambda: server.said[-2000:])
