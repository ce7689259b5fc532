"""A site whose key is revoked in the midst of a run: everyone hears of it, and nothing waits."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

from server.deployment.errors import UNFINISHED
from tests.deployed_server import SCRIPT, Deployment, deployment, environment, wait_for
from tests.real_clients import start_site

pytestmark = pytest.mark.xdist_group("second-deployment")

SETTINGS = {
    "federation.num-clients": 2,
    "federation.num-server-rounds": 300,
    "data.dataset": "folder",
    "data.partitioner": "iid",
    "data.min-partition-size": 1,
    "training.sample-rate": 0.2,
    "privacy.noise-multiplier": 3.0,
}
SECONDS = 150
"""Less than the three minutes after which SuperLink gives up a reply of which parts are missing."""


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_images) -> tuple[Deployment, subprocess.CompletedProcess[str]]:
    """Return a server and what `fedledger run` said, whose second client was revoked in it."""
    with deployment(tmp_path_factory.mktemp("revoked")) as server, contextlib.ExitStack() as stack:
        server.start()
        for number in range(2):
            stack.callback(start_site(server, number, tiny_images, sites=2).kill)
        given = {**SETTINGS, "data.data-dir": tiny_images}
        options = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        command = [sys.executable, SCRIPT, "run", "--state", server.state, "--out", server.folder / "run"]
        process = subprocess.Popen(
            [*command, "--wait", "180", *options],
            cwd=server.folder,
            env=environment(server.folder / "home"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        stack.callback(process.kill)
        progress = server.folder / "run" / "progress.jsonl"
        wait_for(lambda: progress.exists() and progress.read_text().count("round-finished") >= 2, 240)
        assert server.quick("revoke", "site-1", "--state", str(server.state)).status == 0
        said, _ = process.communicate(timeout=SECONDS)
        yield server, subprocess.CompletedProcess(command, process.returncode, said)


def test_the_run_ends_for_lack_of_a_second_client_and_says_who_is_missing(run):
    _, done = run
    assert "site-1 (revoked) left out: " in done.stdout, done.stdout
    assert "stands with 1 usable answer, but 2 are needed to go on" in done.stdout, done.stdout
    assert "Verified: " in done.stdout, done.stdout


def test_a_run_that_can_go_on_says_how_and_is_no_success(run):
    _, done = run
    assert done.returncode == UNFINISHED
    assert "To go on: fedledger run --resume " in done.stdout


def test_the_status_tells_it_as_it_was(run):
    server, _ = run
    shown = server.shown()
    assert "finished:early" in shown
    assert server.status_of("site-1") == "revoked"
    assert server.status_of("site-0") == "online"


def test_the_sites_own_log_says_that_its_key_is_refused(run):
    server, _ = run
    wait_for(lambda: "the server refuses this key" in (server.folder / "site-1.log").read_text(), 60)
