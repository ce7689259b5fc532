"""A whole deployment on one machine for benchmarks: `fedledger server`, and `fedledger client` processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.deployment.state_folder import StateFolder
from server.deployment.status import with_control
from tests.deployed_server import SCRIPT, Deployment, deployment
from tests.made_images import make_images
from tests.real_clients import POLICY, Process

DATA = ("data.dataset=folder", "data.partitioner=iid", "data.min-partition-size=1")


@contextmanager
def served(folder: Path) -> Iterator[Deployment]:
    """Run a server with TLS and authentication below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with deployment(folder) as server:
        server.start()
        yield server


@contextmanager
def clients(
    server: Deployment, images: Path, number: int, *, at_a_time: int, apps: str = "installed"
) -> Iterator[list[Process]]:
    """Run clients, of whom each holds one of `number` parts of the images.

    Args:
        at_a_time: so many are started before all of them must be connected.
        apps: the bundle's SHA-256 that their policy permits.
    """
    started: list[Process] = []
    try:
        for index in range(number):
            started.append(_client(server, images, index, number, apps))
            if (index + 1) % at_a_time == 0 or index + 1 == number:
                for process in started[-at_a_time:]:
                    process.wait_for("connected as node", 180)
        yield started
    finally:
        for process in started:
            process.kill()


def _client(server: Deployment, images: Path, index: int, number: int, apps: str) -> Process:
    name = f"site-{index}"
    policy = server.folder / "policy.toml"
    policy.write_text(f'{POLICY}permitted-apps = ["{apps}"]\n')
    server.enroll(name)
    command = [
        *(sys.executable, SCRIPT, "client", "--server", server.running["gateway"]),
        *("--ca", server.folder / "pki" / "ca.crt", "--key", server.folder / "keys" / name),
        *("--policy", policy, "--state", server.folder / name, "--partition", f"{index}/{number}"),
        *(part for text in [*DATA, f"data.data-dir={images}"] for part in ("--set", text)),
    ]
    return Process(command, server.folder / f"{name}.log", server.folder / f"home-{name}")


def submit(server: Deployment, bundle: bytes, settings: dict[str, bool | int | float | str]) -> int:
    """Start a run of a bundle and return its id."""
    with with_control(server.state) as (control, _):
        return control.start_run(bundle, settings)


def wait_for_run(server: Deployment, run_id: int, seconds: float) -> str:
    """Wait until a run is over and return its status and details."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with with_control(server.state) as (control, _):
            run = control.runs(run_id)[0]
        if run.finished:
            return f"{run.status}: {run.details}"
        time.sleep(1)
    return f"not over within {seconds:.0f} s; {StateFolder(server.state).log} says more"


def images_for(clients: int, folder: Path) -> Path:
    """Write 24 images a client, of noise, and return their folder."""
    return make_images(folder, {"train": 12 * clients, "test": 2})
