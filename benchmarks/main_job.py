"""The main job on real images at several budgets: `python -m benchmarks.main_job --data-dir DIR`.

Ten clients, Dirichlet 0.5, the default network and settings; without privacy, what serves plain training:
15 rounds of one local epoch in batches of 32. Each row is one run, audited. Prints a table in Markdown. DIR
holds train/<class>/ and test/<class>/.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from common.config import RunConfig, Settings, resolve
from simulations import simulate

ROWS: dict[str, Settings] = {
    "epsilon 8": {"privacy.epsilon": 8.0},
    "epsilon 2": {"privacy.epsilon": 2.0},
    "no privacy": {
        "privacy.enabled": False,
        "federation.num-server-rounds": 15,
        "federation.server-momentum": 0.0,
        "training.batch-size": 32,
        "training.local-epochs": 1,
        "training.learning-rate": 0.05,
    },
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run's figures."""

    name: str
    epsilon: float | None
    verified: bool
    accuracy: float
    seconds: float

    def markdown(self) -> str:
        """Return the row of the table."""
        epsilon = "none" if self.epsilon is None else f"{self.epsilon:.4f}"
        verdict = "verified" if self.verified else "NOT verified"
        return f"| {self.name} | {epsilon} | {verdict} | {self.accuracy:.2%} | {self.seconds:.0f} s |"


def measure(name: str, config: RunConfig) -> Row:
    """Run one configuration from loading images to the audit."""
    started = time.monotonic()
    run = simulate(config)
    return Row(
        name=name,
        epsilon=run.report.epsilon,
        verified=run.report.verified,
        accuracy=run.report.accuracy or 0.0,
        seconds=time.monotonic() - started,
    )


def main() -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data-dir", required=True, help="image folder with train/<class>/ and test/<class>/"
    )
    parser.add_argument("--out", default="runs/main-job", help="folder for the runs")
    parser.add_argument("--only", choices=sorted(ROWS), help="one row instead of all")
    arguments = parser.parse_args()
    print("| run | epsilon (audited) | audit | accuracy | wall time |\n|---|---|---|---|---|", flush=True)
    for name, settings in ROWS.items():
        if arguments.only in (None, name):
            place = str(Path(arguments.out) / name.replace(" ", "-"))
            images = {"data.dataset": "folder", "data.data-dir": arguments.data_dir}
            fixed = {"privacy.delta": 1e-5, "runtime.out": place}
            print(measure(name, resolve(images, fixed, settings)).markdown(), flush=True)


if __name__ == "__main__":
    main()
