"""What more clients cost: `python -m benchmarks.scale [--clients 10 100 1000 10000] [--rounds 3]`.

One simulation for each number of clients, started in a process of its own, on as many synthetic images; at
most 50 clients train in a round. Noted: how long it takes until all clients have joined, how long a round
takes, how long the audit, and the most memory that its processes have together.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.page import PAGE, in_words, machine, write_section
from benchmarks.process_use import peak_of_family
from common.config import Settings, resolve
from server.observer import RunObserver
from server.state import RoundOutcome, RunState
from simulations import simulate

COHORT = 50


@dataclass(frozen=True, kw_only=True)
class ScaleFigures:
    """What a simulation of some clients took, in seconds and MiB."""

    clients: int
    join: float
    rounds: list[float]
    audit: float
    peak_mebibytes: float
    verified: bool


class Stopwatch(RunObserver):
    """Notes when things happened, in seconds since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self._made = time.monotonic()
        self.joined_at = self.ended_at = 0.0
        self.round_seconds: list[float] = []

    def joined(self, state: RunState, refused: list[str]) -> None:
        """Note when the first round begins."""
        self.joined_at = self.elapsed

    def round_finished(self, state: RunState, outcome: RoundOutcome) -> None:
        """Note how long a round took, evaluation included."""
        self.round_seconds.append(outcome.seconds)

    def ended(self, state: RunState, *, can_go_on: bool) -> None:
        """Note when training is over."""
        self.ended_at = self.elapsed

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._made


def settings(clients: int, rounds: int, out: Path) -> Settings:
    """Return a run in which every round trains a cohort, on batches of two records."""
    return {
        "federation.num-clients": clients,
        "federation.num-server-rounds": rounds,
        "federation.fraction-train": min(1.0, COHORT / clients),
        "data.partitioner": "iid",
        "data.min-partition-size": 1,
        "training.sample-rate": 0.5,
        "runtime.out": str(out),
    }


def measure(clients: int, rounds: int) -> ScaleFigures:
    """Run one simulation in this process."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as place, peak_of_family() as peak:
        config = resolve(settings(clients, rounds, Path(place) / "run"))
        simulation = simulate(config, observer=watch)
    return ScaleFigures(
        clients=len(simulation.report.clients),
        join=watch.joined_at,
        rounds=watch.round_seconds,
        audit=watch.elapsed - watch.ended_at,
        peak_mebibytes=peak.mebibytes,
        verified=simulation.report.verified,
    )


def measure_apart(clients: int, rounds: int) -> ScaleFigures:
    """Run one simulation in a process of its own, so that its memory is its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as process:
        return process.submit(measure, clients, rounds).result()


def section(found: list[ScaleFigures], facts: dict[str, Any]) -> str:
    """Return the section of the page."""
    lines = [
        "| clients | all have joined after | a round, median | audit | peak memory | audit verified |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.clients:,} | {each.join:.1f} s | {statistics.median(each.rounds[1:]):.2f} s | "
        f"{each.audit:.1f} s | {each.peak_mebibytes:.0f} MiB | {'yes' if each.verified else 'no'} |"
        for each in found
    ]
    least, most = found[0], found[-1]
    added = (most.peak_mebibytes - least.peak_mebibytes) * 2**20 / max(1, most.clients - least.clients)
    return f"""\
## More clients

`python -m benchmarks.scale --page`: one simulation for each row, on synthetic images; at most {COHORT}
clients train in a round, one step each. Joining begins with the start of the simulation, loading of images
included; every client makes its key, salt and ledger, each durable on disk before it answers. First rounds,
which warm up, are left out of the median. Memory is that of all its processes, shared pages counted once.

{in_words(facts)}

{chr(10).join(lines)}

From {least.clients:,} to {most.clients:,} clients memory grows by {added:,.0f} bytes a client.
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 100, 1000, 10000])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", action="store_true", help="write the section of docs/performance.md")
    arguments = parser.parse_args()
    facts = machine()
    found = [measure_apart(clients, arguments.rounds) for clients in arguments.clients]
    print(section(found, facts))
    if arguments.json:
        arguments.json.write_text(json.dumps(facts | {"runs": [asdict(each) for each in found]}, indent=1))
    if arguments.page:
        write_section(PAGE, "scale", section(found, facts))


if __name__ == "__main__":
    main()
