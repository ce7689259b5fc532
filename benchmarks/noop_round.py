"""How long a round takes in which clients compute nothing: stock Flower and FedLedger, in turns.

A round is one question for public facts to every client. Stock Flower is a SuperLink on loopback in plain
HTTP and stock SuperNodes, the fastest that it offers; FedLedger is all of it: `fedledger server` with its
gateway, TLS and authentication, and `fedledger client` processes. Both get the same bundle: this repository
with a ServerApp that asks and keeps time, pinned in the clients' policy. The two take turns, so that whatever
else the machine does falls on both.

    python -m benchmarks.noop_round [--clients 2 10] [--rounds 8] [--turns 2] [--out FILE] [--page]
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
from typing import Any

from benchmarks.deployed import clients, images_for, served, submit, wait_for_run
from benchmarks.page import PAGE, in_words, machine, write_section
from server.deployment.superlink import free_port
from tests.real_clients import BIN, ROOT, LoopbackServer, Process

SERVER_APP = '''"""Asks every client for its public facts, again and again, and keeps time."""

import json
import time
from pathlib import Path

from flwr.serverapp import ServerApp

from common.messages import describe_request_record
from common.protocol import DescribeRequest, Description
from server.exchange import Question, ask

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
    for _, reply in ask(grid, "query", "noop", [Question(node, -1, content) for node in nodes]):
        if not isinstance(reply, Description):
            raise RuntimeError(reply)
    return time.monotonic() - began
'''

SIDES = ("stock", "ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[2, 10])
    parser.add_argument("--rounds", type=int, default=8, help="Of FedLedger a turn; stock Flower makes half.")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--only", choices=SIDES)
    parser.add_argument("--out", type=Path, help="JSON with every round.")
    parser.add_argument("--page", action="store_true", help="Write the section of docs/performance.md.")
    arguments = parser.parse_args()
    found = {"machine": machine(), "results": [measured(number, arguments) for number in arguments.clients]}
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1))
    if arguments.page:
        write_section(PAGE, "noop-round", section(found))


def measured(number: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Let both sides take turns with so many clients; return their first and later rounds, in seconds."""
    folder = Path(tempfile.mkdtemp(prefix="noop-round-"))
    images = images_for(number, folder / "images")
    app, bundle = make_app(folder / "noop-app")
    first: dict[str, list[float]] = {side: [] for side in SIDES}
    later: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(arguments.turns):
        for side, run in (("stock", stock), ("ours", ours)):
            if arguments.only in (None, side):
                place = folder / f"{side}-{turn}"
                rounds = max(2, arguments.rounds // (2 if side == "stock" else 1))
                taken = run(place, app, bundle, settings(place, images, number, rounds))
                first[side].append(taken[0])
                later[side] += taken[1:]
                say(number, side, taken)
    shutil.rmtree(folder)
    sides = {side: summary(first[side], later[side]) for side in SIDES if later[side]}
    return {"clients": number, **sides}


def say(number: int, side: str, seconds: list[float]) -> None:
    rest = ", ".join(f"{one:.2f}" for one in seconds[1:])
    print(f"{side}, {number} clients: first {seconds[0]:.1f} s, then {rest} s", flush=True)


def summary(first: list[float], later: list[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(later), 2),
        "least": round(min(later), 2),
        "most": round(max(later), 2),
        "first": [round(one, 2) for one in first],
        "rounds": [round(one, 3) for one in later],
    }


def settings(place: Path, images: Path, number: int, rounds: int) -> dict[str, bool | int | float | str]:
    return {
        "federation.num-clients": number,
        "federation.num-server-rounds": rounds,
        "data.dataset": "folder",
        "data.data-dir": str(images),
        "data.partitioner": "iid",
        "data.min-partition-size": 1,
        "runtime.out": str(place / "run"),
    }


def stock(place: Path, app: Path, _: bytes, options: dict[str, Any]) -> list[float]:
    place.mkdir()
    server = LoopbackServer(place)
    try:
        server.wait_until_ready()
        with started(supernodes(place, server, options["federation.num-clients"])):
            said = server.flower_run(app, options, seconds=1800)
    finally:
        server.kill()
    return timed(place, said)


def supernodes(place: Path, server: LoopbackServer, number: int) -> Iterator[Process]:
    for index in range(number):
        command = [
            *(BIN / "flower-supernode", "--insecure", "--superlink", server.address),
            *("--host", "127.0.0.1", "--port", free_port()),
            *("--node-config", f"partition-id={index} num-partitions={number}"),
        ]
        yield Process(command, place / f"node-{index}.log", place / f"node-{index}")


def ours(place: Path, _: Path, bundle: bytes, options: dict[str, Any]) -> list[float]:
    number, images = options["federation.num-clients"], Path(options["data.data-dir"])
    digest = hashlib.sha256(bundle).hexdigest()
    with served(place) as server, clients(server, images, number, at_a_time=2, apps=digest):
        said = wait_for_run(server, submit(server, bundle, options), 1800)
    return timed(place, said)


def timed(place: Path, said: str) -> list[float]:
    """Return what the ServerApp measured."""
    file = place / "run.json"
    if not file.exists():
        sys.exit(f"the run in {place} failed:\n{said[-3000:]}")
    taken: list[float] = json.loads(file.read_text())
    return taken


@contextmanager
def started(processes: Iterator[Process]) -> Iterator[None]:
    running: list[Process] = []
    try:
        running.extend(processes)
        yield
    finally:
        for process in running:
            end(process)


def end(process: Process) -> None:
    """End a SuperNode, which takes its SuperExec along, by force if it must be."""
    try:
        process.end(seconds=15)
    except Exception:  # noqa: BLE001 - whatever it is, the process must not stay
        process.kill()


def make_app(app: Path) -> tuple[Path, bytes]:
    """Copy the app, put in the ServerApp that keeps time, and return it with its bundle."""
    from flwr.cli.build import build_fab_from_disk

    app.mkdir()
    shutil.copy(ROOT / "pyproject.toml", app)
    for package in ("client", "common", "server"):
        shutil.copytree(ROOT / package, app / package, ignore=shutil.ignore_patterns("__pycache__"))
    (app / "server" / "app.py").write_text(SERVER_APP)
    return app, bytes(build_fab_from_disk(app))


def section(found: dict[str, Any]) -> str:
    """Return the section of the page."""
    rows = [
        f"| {result['clients']} | {side} | {figures['median']:.2f} s | {figures['least']:.2f} to "
        f"{figures['most']:.2f} s | {len(figures['rounds'])} | "
        f"{', '.join(f'{one:.1f}' for one in figures['first'])} s |"
        for result in found["results"]
        for side, figures in (("stock Flower", result.get("stock")), ("FedLedger", result.get("ours")))
        if figures
    ]
    return "\n".join([INTRODUCTION, in_words(found["machine"]), "", *HEAD, *rows, "", REMAINS])


INTRODUCTION = """\
## A round in which nothing is computed

`python -m benchmarks.noop_round --page`: the server asks every client for its public facts and waits for all
answers. Stock Flower runs without TLS, authentication and gateway; FedLedger with all three. They take turns.
"""

HEAD = (
    "| clients | | median | least to most | rounds | first round of each turn |",
    "|---|---|---|---|---|---|",
)

REMAINS = """\
What remains, and why: stock SuperNode asks for messages every 3 seconds and looks for its client's answer
every half second; FedLedger's asks every second, and looks every tenth, for as long as messages come (it
stays at 3 seconds otherwise), so a round waits for about one second. The rest is a dozen HTTP requests a
client on either side of its SuperNode, signed, encrypted and checked: processor time, which clients on one
machine share. The first round of a turn may hold the start of each client's worker, which loads PyTorch and
the site's records. In stock Flower every message starts a process that does that, so that processor time
decides how long a round takes, and a busy machine tells most there.
"""


if __name__ == "__main__":
    main()
