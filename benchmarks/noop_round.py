"""How long a round takes in which clients compute nothing: stock SuperNodes, then `fedledger client`.

A round is one question for public facts to every client, through a SuperLink on loopback. Both kinds of
client get the same bundle: this repository with a ServerApp that asks and keeps time, pinned in the policy.

    python -m benchmarks.noop_round [--clients 2] [--rounds 8]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from tests.real_clients import BIN, POLICY, ROOT, ClientProcess, LoopbackServer, Process, free_port

SERVER_APP = '''"""Asks every client for its public facts, again and again, and keeps time."""

import json
import time
from pathlib import Path

from flwr.serverapp import ServerApp

from common.messages import describe_request_record, parse_reply
from common.protocol import DescribeRequest, Description

app = ServerApp()


@app.main()
def main(grid, context):
    clients = int(context.run_config["federation.num-clients"])
    while len(nodes := list(grid.get_node_ids())) < clients:
        time.sleep(0.2)
    rounds = [one(grid, nodes) for _ in range(int(context.run_config["federation.num-server-rounds"]))]
    Path(str(context.run_config["runtime.out"]) + ".json").write_text(json.dumps(rounds))


def one(grid, nodes):
    began = time.monotonic()
    content = describe_request_record(DescribeRequest(run="noop"))
    waiting = set(grid.push_messages([grid.create_message(content, "query", n, "noop") for n in nodes]))
    while waiting:
        for reply in grid.pull_messages(list(waiting)):
            waiting.discard(reply.metadata.reply_to_message_id)
            if not isinstance(parse_reply(reply), Description):
                raise RuntimeError(parse_reply(reply))
        time.sleep(0.05)
    return time.monotonic() - began
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="noop-round-"))
    images = make_images(folder / "images", arguments.clients)
    app, digest = make_app(folder / "noop-app")
    for name, start in (("stock", stock), ("ours", ours)):
        place = folder / name
        place.mkdir()
        with served(place) as server, started(start(place, server, images, digest, arguments.clients)):
            said = server.flower_run(app, settings(place, images, arguments), seconds=60 * arguments.rounds)
        timed = place / "run.json"
        if not timed.exists():
            sys.exit(f"{name}: the run failed:\n{said[-3000:]}")
        report(name, arguments.clients, json.loads(timed.read_text()))
    shutil.rmtree(folder)


def report(name: str, clients: int, seconds: list[float]) -> None:
    first, rest = seconds[0], seconds[1:]
    print(
        f"{name}: {clients} clients, first round {first:.1f} s, then median {statistics.median(rest):.2f} s, "
        f"least {min(rest):.2f} s, most {max(rest):.2f} s over {len(rest)} rounds",
        flush=True,
    )


def settings(place: Path, images: Path, arguments: argparse.Namespace) -> dict[str, object]:
    return {
        "federation.num-clients": arguments.clients,
        "federation.num-server-rounds": arguments.rounds,
        "data.dataset": "folder",
        "data.data-dir": str(images),
        "data.partitioner": "iid",
        "data.min-partition-size": 1,
        "runtime.out": str(place / "run"),
    }


def stock(place: Path, server: LoopbackServer, _: Path, __: str, clients: int) -> Iterator[Process]:
    for number in range(clients):
        command = [
            *(BIN / "flower-supernode", "--insecure", "--superlink", server.address),
            *("--host", "127.0.0.1", "--port", free_port()),
            *("--node-config", f"partition-id={number} num-partitions={clients}"),
        ]
        yield Process(command, place / f"node-{number}.log", place / f"node-{number}")


def ours(place: Path, server: LoopbackServer, images: Path, digest: str, clients: int) -> Iterator[Process]:
    data = ["data.dataset=folder", f"data.data-dir={images}", "data.partitioner=iid"]
    options = [part for text in [*data, "data.min-partition-size=1"] for part in ("--set", text)]
    policy = f'{POLICY}permitted-apps = ["{digest}"]\n'
    for number in range(clients):
        partition = ("--partition", f"{number}/{clients}")
        yield ClientProcess(place, number, server.address, *partition, *options, policy=policy)


@contextmanager
def served(place: Path) -> Iterator[LoopbackServer]:
    server = LoopbackServer(place)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


@contextmanager
def started(processes: Iterator[Process]) -> Iterator[None]:
    running: list[Process] = []
    try:
        running.extend(processes)
        yield
    finally:
        for process in running:
            process.kill()


def make_images(root: Path, clients: int) -> Path:
    generator = np.random.default_rng(0)
    for part, count in (("train", 12 * clients), ("test", 2)):
        for name in ("cat", "dog"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return root


def make_app(app: Path) -> tuple[Path, str]:
    """Copy the app, put in the ServerApp that keeps time, and return it with its bundle's SHA-256."""
    from flwr.cli.build import build_fab_from_disk

    app.mkdir()
    shutil.copy(ROOT / "pyproject.toml", app)
    for package in ("client", "common", "server"):
        shutil.copytree(ROOT / package, app / package, ignore=shutil.ignore_patterns("__pycache__"))
    (app / "server" / "app.py").write_text(SERVER_APP)
    return app, hashlib.sha256(build_fab_from_disk(app)).hexdigest()


if __name__ == "__main__":
    main()
