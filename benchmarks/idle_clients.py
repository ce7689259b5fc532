"""What fifty clients cost that wait for a run: memory and processor time, of each part of a deployment.

One machine runs the server (gateway and SuperLink) and all the clients, over TLS and with authentication.
They are started, left alone until no worker is loaded any more, and then watched for five minutes in which
nothing happens.

    python -m benchmarks.idle_clients [--clients 50] [--seconds 300] [--out FILE] [--page]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.deployed import clients, images_for, served
from benchmarks.page import PAGE, in_words, machine, write_section
from benchmarks.process_use import Use, family_of, use_of
from server.deployment.run import who_is_here
from tests.deployed_server import Deployment
from tests.real_clients import Process, children_of, wait_until

PARTS = ("gateway", "SuperLink", "SuperExec", "client", "SuperNode")
_SETTLING_SECONDS = 240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--at-a-time", type=int, default=2, help="Started before all must be connected.")
    parser.add_argument("--out", type=Path, help="JSON.")
    parser.add_argument("--page", action="store_true", help="Write the section of docs/performance.md.")
    arguments = parser.parse_args()
    found = {"machine": machine(), **measured(arguments)}
    print(section(found))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1))
    if arguments.page:
        write_section(PAGE, "idle-clients", section(found))


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the fleet and return what its parts use."""
    with tempfile.TemporaryDirectory(prefix="idle-clients-") as name:
        folder, number = Path(name), arguments.clients
        images = images_for(number, folder / "images")
        began = time.monotonic()
        with (
            served(folder / "server") as server,
            clients(server, images, number, at_a_time=arguments.at_a_time) as running,
        ):
            started = time.monotonic() - began
            print(f"{number} clients are connected after {started:.0f} s", flush=True)
            wait_until(lambda: settled(running), _SETTLING_SECONDS, lambda: "workers are still loaded")
            before, first = by_part(server, running), time.monotonic()
            time.sleep(arguments.seconds)
            after, seconds = by_part(server, running), time.monotonic() - first
            online = len(who_is_here(server.state)[0])
    return {
        "clients": number,
        "seconds": round(seconds, 1),
        "started_seconds": round(started, 1),
        "online": online,
        "parts": {part: figures(before[part], after[part], seconds) for part in PARTS},
    }


def settled(running: list[Process]) -> bool:
    """Say whether each client is nothing but itself and its SuperNode."""
    return all(len(children_of(client.popen.pid)) == 1 for client in running)


def by_part(server: Deployment, running: list[Process]) -> dict[str, Use]:
    """Return what each part uses now, all of its processes together."""
    assert server.server is not None
    gateway, *rest = family_of(server.server.pid)
    superlink, *superexec = rest
    return {
        "gateway": use_of([gateway]),
        "SuperLink": use_of([superlink]),
        "SuperExec": use_of(superexec),
        "client": use_of(client.popen.pid for client in running),
        "SuperNode": use_of(child for client in running for child in children_of(client.popen.pid)),
    }


def figures(before: Use, after: Use, seconds: float) -> dict[str, float]:
    used = after.seconds - before.seconds
    memory = {name: round(value, 1) for name, value in asdict(after).items() if name != "seconds"}
    return {"cpu_seconds": round(used, 2), "core_share": round(used / seconds, 4), **memory}


def section(found: dict[str, Any]) -> str:
    """Return the section of the page."""
    number = found["clients"]
    rows = [row(part, found["parts"][part], number) for part in PARTS]
    total = sum(found["parts"][part]["proportional"] for part in PARTS)
    return "\n".join(
        [
            INTRODUCTION.format(clients=number, seconds=found["seconds"], online=found["online"]),
            in_words(found["machine"]),
            "",
            *HEAD,
            *rows,
            "",
            f"All {number} clients and the server together take {total / 1024:.1f} GiB.",
            "",
            REMAINS,
        ]
    )


def row(part: str, use: dict[str, float], number: int) -> str:
    share = f"{100 * use['core_share']:.1f} %"
    cells = [
        part,
        f"{use['resident']:.0f}",
        f"{use['proportional']:.0f}",
        f"{use['cpu_seconds']:.1f} s",
        share,
    ]
    if part in ("client", "SuperNode"):
        cells[0] = f"{part}, all {number}"
        each = f"{use['proportional'] / number:.0f} MiB, {use['cpu_seconds'] / number:.2f} s"
    else:
        each = "-"
    return "| " + " | ".join([*cells, each]) + " |"


INTRODUCTION = """\
## Clients that wait

`python -m benchmarks.idle_clients --page`: {clients} `fedledger client` processes and one server on one
machine, {seconds:.0f} seconds without a run; {online} of them were online at the end.
"""

HEAD = (
    "| part | resident, MiB | proportional (PSS), MiB | processor time | of one core | each (PSS, time) |",
    "|---|---|---|---|---|---|",
)

REMAINS = """\
A client that waits is two processes: its own, which keeps the SuperNode and listens to it, and the SuperNode.
Neither loads PyTorch or an image. The worker that does, several hundred MB, begins when a message comes
(about four seconds of one core) and ends `--keep-warm` seconds, else 300, after its last one. What the
processor does in between: each SuperNode asks for messages every 3 seconds and sends a heartbeat every 30,
each request signed, sent over TLS, and checked by gateway and SuperLink.
"""


if __name__ == "__main__":
    main()
