"""A thousand clients in one process: `python -m benchmarks.scale [--clients 1000] [--rounds 2]`.

Prints how long it takes until all clients have joined, how long a round takes, how long the audit, and the
process's largest resident memory. Synthetic images, whose shares differ in size, so that every client has
its own sample rate, steps and noise.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from common.config import Settings, resolve
from server.observer import RunObserver
from server.state import RoundOutcome, RunState
from simulations import simulate


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

    def ended(self, state: RunState) -> None:
        """Note when training is over."""
        self.ended_at = self.elapsed

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._made


def settings(clients: int, rounds: int, out: Path) -> Settings:
    """Return a run whose every client has its own n, and so its own q, steps and noise."""
    return {
        "federation.num-clients": clients,
        "federation.num-server-rounds": rounds,
        "data.partitioner": "quantity-skew",
        "data.alpha": 3.0,
        "data.min-partition-size": 3,
        "training.batch-size": 2,
        "training.local-epochs": 1,
        "runtime.out": str(out),
    }


def peak_mebibytes() -> float:
    """Return the process's largest resident memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Run once and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as place:
        config = resolve(settings(arguments.clients, arguments.rounds, Path(place) / "run"))
        simulation = simulate(config, observer=watch)
    rounds = {client.rounds for client in simulation.report.clients}
    print(
        f"clients             {len(simulation.report.clients)}, each in {min(rounds)} to {max(rounds)} rounds"
    )
    print(f"until all joined    {watch.joined_at:.1f} s")
    for number, seconds in enumerate(watch.round_seconds, start=1):
        print(f"round {number:<13} {seconds:.1f} s")
    print(f"audit               {watch.elapsed - watch.ended_at:.1f} s")
    print(f"peak memory         {peak_mebibytes():.0f} MiB")
    print(f"largest epsilon     {simulation.report.epsilon:.4f}, verified: {simulation.report.verified}")


if __name__ == "__main__":
    main()
