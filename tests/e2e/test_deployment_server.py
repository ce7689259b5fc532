"""The server as real processes: what it shows to the network, a run over stock SuperNodes, and its end."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess

import httpx
import pytest

from common.audit.auditor import audit
from common.flower_internals.fleet import FLEET_PATHS
from tests.deployed_server import Deployment, deployment, wait_for
from tests.live_gateway import NodeKey

pytestmark = pytest.mark.xdist_group("deployment")

ROUNDS = 2


def run_options(images, out: str) -> list[str]:
    settings = {
        "federation.num-clients": 2,
        "federation.num-server-rounds": ROUNDS,
        "federation.round-timeout-seconds": 300,
        "data.dataset": "folder",
        "data.data-dir": str(images),
        "data.partitioner": "iid",
        "data.min-partition-size": 1,
        "training.sample-rate": 0.2,
    }
    options = ["--out", out, "--wait", "180"]
    for key, value in settings.items():
        options += ["--set", f"{key}={value}"]
    return options


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with deployment(tmp_path_factory.mktemp("deployed")) as deployed:
        deployed.start()
        for number, name in enumerate(("site-a", "site-b")):
            deployed.enroll(name)
            deployed.start_node(name, number, 2)
        yield deployed


@pytest.fixture(scope="module")
def finished(server, tiny_images) -> subprocess.CompletedProcess[str]:
    options = run_options(tiny_images, "run")
    return server.command("run", "--state", str(server.state), *options, seconds=600)


def test_a_run_over_tls_and_authentication_ends_verified(server, finished):
    said = f"{finished.stdout}\n{finished.stderr}\n{server.log}"
    assert finished.returncode == 0, said
    assert "2 of 2 clients are here: site-a, site-b" in finished.stdout
    assert "2 clients joined with 48 examples" in finished.stdout
    assert f"Training is over: all {ROUNDS} rounds are done" in finished.stdout
    assert "Findings: none" in finished.stdout
    report = audit(server.folder / "run")
    assert (report.findings, len(report.clients)) == ((), 2) or not report.findings


def test_the_display_is_that_of_a_simulation(finished):
    lines = [line for line in finished.stdout.splitlines() if line.startswith("round ")]
    assert len(lines) == ROUNDS
    assert all("accuracy" in line and "epsilon" in line for line in lines)


def test_the_status_names_clients_and_runs(server, finished):
    said = server.shown()
    assert said.count("online") == 2
    assert "site-a" in said
    assert "finished:completed" in said
    assert "site-a connected (127.0.0.1)" in server.log


def openapi(server: Deployment) -> list[tuple[str, str]]:
    """Return every method and path of Flower's own OpenAPI, as SuperLink shows it to who holds the secret."""
    with loopback(server, secret=True) as client:
        found = client.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in found.items() for method in methods]


def loopback(server: Deployment, *, secret: bool) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(server.state / "superlink" / "pki" / "ca.crt"))
    headers = {"content-type": "application/protobuf"}
    if secret:
        headers["x-fedledger-control"] = (server.state / "superlink" / "control.secret").read_text()
    address = f"https://{server.running['superlink']}"
    return httpx.Client(base_url=address, verify=context, trust_env=False, headers=headers)


def outside(server: Deployment) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(server.folder / "pki" / "ca.crt"))
    return httpx.Client(base_url=f"https://{server.running['gateway']}", verify=context, trust_env=False)


def enrolled_key(server: Deployment, name: str) -> NodeKey:
    node = NodeKey()
    path = server.folder / f"{name}.pub"
    path.write_bytes(node.openssh(name))
    done = server.quick("enroll", str(path), "--state", str(server.state))
    assert done.status == 0, done.err
    return node


def test_on_loopback_other_accounts_find_nothing_without_the_secret(server):
    with loopback(server, secret=False) as client:
        for method, path in openapi(server):
            if path.startswith("/v1/control/") or path in ("/docs", "/openapi.json"):
                assert client.request(method, path).status_code == 401, path
        assert client.get("/docs").status_code == 401
        assert client.post("/v1/runtime/acquire-task").status_code in (401, 403)


def test_a_node_that_nobody_enrolled_is_turned_away_with_one_line(server):
    server.make_key("stranger")
    node = server.start_node("stranger", 0, 2)
    node.wait(60)  # stock SuperNodes end with status 0 whatever happened
    assert "[code: 2004] this key is not enrolled here, or was revoked" in server.said("stranger")
    assert "refused 127.0.0.1: key SHA256:" in server.log


def test_a_revoked_node_is_turned_away_at_once_with_one_line(server):
    server.enroll("leaver")
    node = server.start_node("leaver", 0, 2)
    wait_for(lambda: server.status_of("leaver") == "online", 60)
    done = server.quick("revoke", "leaver", "--state", str(server.state))
    assert "its key is refused from its next request on" in done.out
    node.wait(60)
    assert server.status_of("leaver") == "revoked"
    again = server.quick("enroll", str(server.folder / "keys" / "leaver.pub"), "--state", str(server.state))
    assert (again.status, "was revoked (as leaver) and stays so" in again.err) == (2, True)


def test_plain_http_is_turned_away_with_one_line(server):
    server.start_supernode("plain", "--insecure").wait(60)
    assert "[code: 2004] this server speaks TLS" in server.said("plain")
    assert "it speaks plain HTTP" in server.log


def test_too_few_clients_end_the_wait_in_a_message_that_names_them(server, tiny_images):
    enrolled_key(server, "late")
    options = run_options(tiny_images, "never")
    options[1] = str(server.folder / "never")
    done = server.quick("run", "--state", str(server.state), *options, "--clients", "9", "--wait", "1")
    assert done.status == 2
    assert "only 2 of 9 clients came within 1 s (here: site-a, site-b; not here: late" in done.err
    assert done.err.count("\n") == 1
    assert not (server.folder / "never").exists()


def test_of_flowers_own_paths_only_those_of_nodes_answer_and_only_to_enrolled_keys(server):
    routes = openapi(server)
    assert len(routes) > 70
    others = [("GET", path) for path in ("/docs", "/openapi.json", "/docs/oauth2-redirect", "/redoc")]
    enrolled, stranger = enrolled_key(server, "scanner"), NodeKey()
    answered = set()
    with outside(server) as client:
        for method, path in [*routes, *others]:
            if path == "/health":
                continue
            codes = [
                client.request(method, path, headers=headers).status_code
                for headers in ({}, stranger.headers(), enrolled.headers())
            ]
            if path in FLEET_PATHS:
                assert codes[:2] == [401 + 11 * (path == "/v1/fleet/activate-node")] * 2, (
                    method,
                    path,
                    codes,
                )
                answered.add(path)
                assert codes[2] != 404, (path, codes)
            else:
                assert codes == [404, 404, 404], (method, path, codes)
    assert answered == FLEET_PATHS


def test_a_superlink_that_dies_is_started_again_and_the_nodes_come_back(server, finished):
    superlink = next(n for n, words in server.processes().items() if "superlink_process" in words)
    os.kill(superlink, signal.SIGKILL)
    wait_for(lambda: metric(server, "fedledger_superlink_starts_total") == 2, 60)
    wait_for(lambda: metric(server, "fedledger_superlink_up") == 1, 60)
    pulls = 'fedledger_requests_total{route="/v1/fleet/pull-messages",status="200"}'
    before = metric(server, pulls)
    wait_for(lambda: metric(server, pulls) >= before + 2, 60)
    assert all(server.nodes[name].poll() is None for name in ("site-a", "site-b"))
    assert "it is started again" in server.log
    assert "online" in server.status_of("site-a")


def metric(server: Deployment, name: str) -> float:
    text = httpx.get(f"http://{server.running['metrics']}/metrics", trust_env=False).text
    return float(
        next((line for line in text.splitlines() if line.startswith(f"{name} ")), "0 0").rsplit(" ", 1)[1]
    )


def test_a_server_that_is_told_to_end_leaves_nothing_behind_and_the_state_serves_the_next(tmp_path):
    with deployment(tmp_path) as deployed:
        deployed.start("--log-format", "json")
        deployed.enroll("site-a")
        assert len(deployed.processes()) >= 3
        again = deployed.command("server", "--pki", "pki", "--state", str(deployed.state), "--port", "0")
        assert (again.returncode, "in use by another server" in again.stderr) == (2, True)
        deployed.server.send_signal(signal.SIGTERM)
        assert deployed.server.wait(20) == 0
        wait_for(lambda: not deployed.processes(), 10)
        events = [json.loads(line) for line in deployed.log.splitlines()]
        assert [event["message"] for event in events][-1] == "the server has ended"
        assert "no server runs on" in deployed.shown()

        deployed.start()
        assert deployed.status_of("site-a") == "never seen"
        deployed.server.kill()
        deployed.server.wait()
        wait_for(lambda: not deployed.processes(), 15)
        assert "no server runs on" in deployed.shown()
        (deployed.state / "server.json").unlink()
        deployed.start()
        assert deployed.status_of("site-a") == "never seen"
