"""How each fault is brought about, at its moment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.fleet import Fleet, Operator
from benchmarks.faults.links import Link
from benchmarks.faults.plan import Case
from benchmarks.faults.services import Service, kill, words_of

WORDS = {
    "worker": "client.deployment.worker_process",
    "supernode": "supernode_process.py",
    "superlink": "server.deployment.superlink_process",
    "server-app": "flwr-serverapp",
}
"""What stands in the command line of the processes that the two commands start."""

_LOOK_SECONDS = 0.001
_MOMENT_SECONDS = 40.0


class Injector:
    """Brings about faults in one fleet, in one run.

    Args:
        fleet: what is struck.
        operator: of the run.
        is_over: whether there is nothing left to strike.
    """

    def __init__(self, fleet: Fleet, operator: Operator, is_over: Callable[[], bool]) -> None:
        self._fleet = fleet
        self._operator = operator
        self._is_over = is_over

    def strike(self, case: Case, client: int) -> tuple[float, str]:
        """Bring a fault about and return when that was, and what the moment was like.

        Args:
            client: the number of the client that is struck, where it is one.
        """
        service = self._fleet.clients[client]
        match case.kind:
            case "client-before-charge":
                return self._strike_client_early(service, client, case)
            case "client-after-charge":
                return self._strike_client_at("RESERVE", service, client, case)
            case "client-after-release":
                return self._strike_client_at("RELEASE", service, client, case)
            case "link-cut" | "link-slow":
                return self._spoil(case, client)
        time.sleep(case.wait_seconds)
        began = time.time()
        return began, self._kill_now(case, service)

    def _kill_now(self, case: Case, service: Service) -> str:
        server = self._fleet.server
        match case.variant:
            case "client" | "client-with-all-that-it-started":
                service.kill(whole=case.variant != "client")
            case "server" | "server-with-all-that-it-started":
                server.kill(whole=case.variant != "server")
            case "run-command":
                return "at work" if self._operator.kill() else "between two commands"
            case part:
                found = [n for n in [*service.family(), *server.family()] if WORDS[part] in words_of(n)]
                kill(found)
                return f"{len(found)} processes"
        return "killed"

    def _strike_client_early(self, service: Service, client: int, case: Case) -> tuple[float, str]:
        """Kill a client after its round began, while its ledger does not say so yet."""
        path = self._fleet.home(client).ledger(client)
        before = path.stat().st_size
        end = time.monotonic() + case.wait_seconds
        while time.monotonic() < end and path.stat().st_size == before:
            time.sleep(_LOOK_SECONDS)
        self._kill_now(case, service)
        return time.time(), f"ledger ended with {last_entry(path)}"

    def _strike_client_at(self, kind: str, service: Service, client: int, case: Case) -> tuple[float, str]:
        """Kill a client as soon as its ledger ends with a new entry of a kind."""
        path = self._fleet.home(client).ledger(client)
        size, end = path.stat().st_size, time.monotonic() + _MOMENT_SECONDS
        while time.monotonic() < end and not self._is_over():
            now = path.stat().st_size
            if now != size and last_entry(path) == kind:
                break
            size = now if now < size else size
            time.sleep(_LOOK_SECONDS)
        self._kill_now(case, service)
        return time.time(), f"ledger ended with {last_entry(path)}"

    def _spoil(self, case: Case, client: int) -> tuple[float, str]:
        """Cut or slow links for a while."""
        links: list[Link] = self._fleet.links if case.variant == "all-links" else [self._fleet.links[client]]
        time.sleep(case.wait_seconds / 2)
        began = time.time()
        for link in links:
            link.cut() if case.kind == "link-cut" else link.slow()
        time.sleep(case.lasts_seconds)
        for link in links:
            link.mend()
        return began, f"for {case.lasts_seconds:.1f} s"


def last_entry(path: Path) -> str:
    """Return the type of a ledger's last whole entry."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 20_000))
        lines = file.read().split(b"\n")[:-1]
    try:
        return str(json.loads(lines[-1])["entry"]["type"])
    except (IndexError, ValueError, KeyError):
        return "an unreadable line"
