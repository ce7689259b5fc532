"""FedLedger's rounds beside those of others: `python -m benchmarks.peers [--pfl-python PATH --pfl DIR]`.

Each contestant runs in processes of its own, and they take turns. The first round of each process, which
warms up, is left out; so is evaluation, which the others do not do here; start-up is given apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import PAGE, in_words, machine, write_section
from benchmarks.peers.flower_opacus import write_dataset

_HERE = Path(__file__).parent
_IMAGES = 40_000


@dataclass(kw_only=True)
class Contestant:
    """One way of doing the work, and what was seen of it.

    Args:
        name: as in the table.
        command: program and arguments, to which `--json FILE` is added.
    """

    name: str
    command: list[str]
    rounds: list[float] = field(default_factory=list)
    evaluation: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Run once, and keep the figures.

        Raises:
            subprocess.CalledProcessError: when it fails.
        """
        with tempfile.TemporaryDirectory() as place:
            written = Path(place) / "figures.json"
            subprocess.run([*self.command, "--json", str(written)], check=True, capture_output=True)
            figures = json.loads(written.read_text())
        evaluations = figures.get("evaluations", [])
        rounds = figures["rounds"]
        self.rounds += [
            seconds - evaluation
            for seconds, evaluation in zip(rounds, evaluations or [0.0] * len(rounds), strict=True)
        ]
        self.evaluation += evaluations
        self.start.append(figures["start"])

    @property
    def median(self) -> float:
        """Seconds of a round."""
        return statistics.median(self.rounds)


def large(place: Path, rounds: int) -> list[Contestant]:
    """Return who trains ten clients, 40,000 examples a round in Poisson batches of 32."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (_IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = generator.integers(0, 10, _IMAGES)
    np.save(place / "images.npy", images)
    np.save(place / "labels.npy", labels)
    write_dataset(place, images, labels, clients=10)
    flower = [sys.executable, "-m", "benchmarks.peers.flower_opacus", str(place)]
    more = ["--rounds", str(rounds + 1)]
    name = "Flower, Ray and stock Opacus"
    return [
        Contestant(name="FedLedger", command=_ours("large", rounds)),
        Contestant(name=f"{name}, as Flower's example loads images", command=[*flower, "example", *more]),
        Contestant(name=f"{name}, images as one array", command=[*flower, "array", *more]),
    ]


def small(pfl_python: str, pfl: str, rounds: int) -> list[Contestant]:
    """Return who trains cohorts of 50 clients, five batches of 10 each."""
    more = ["--rounds", str(rounds)]
    own = [sys.executable, "-m", "benchmarks.peers.pfl_benchmark", pfl_python, pfl, *more]
    lean = [pfl_python, str(_HERE / "pfl_rounds.py"), *more]
    return [
        Contestant(name="FedLedger, no privacy", command=_ours("small-plain", rounds)),
        *(
            [Contestant(name="pfl's own benchmark, whole updates clipped and noised", command=own)]
            if pfl
            else []
        ),
        Contestant(name="pfl with our images (channels first), likewise", command=lean),
        Contestant(name="FedLedger, every step private", command=_ours("small", rounds)),
    ]


def _ours(work: str, rounds: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers.ours", work, "--rounds", str(rounds)]


def take_turns(contestants: Iterable[Contestant], turns: int) -> None:
    """Let each run once in every turn."""
    everybody = list(contestants)
    for _ in range(turns):
        for contestant in everybody:
            contestant.run()
            print(contestant.name, [round(seconds, 2) for seconds in contestant.rounds], flush=True)


def table(contestants: list[Contestant]) -> str:
    """Return the figures as a table in Markdown; ratios are to the first."""
    head = ["| | a round, median | least to most | over the first | start |", "|" + "---|" * 5]
    rows = [
        f"| {each.name} | {each.median:.2f} s | {min(each.rounds):.2f} to {max(each.rounds):.2f} s | "
        f"{each.median / contestants[0].median:.2f} | {statistics.median(each.start):.1f} s |"
        for each in contestants
    ]
    return "\n".join(head + rows)


def section(tables: dict[str, list[Contestant]], facts: dict[str, Any]) -> str:
    """Return the section of the page."""
    parts = [INTRODUCTION, in_words(facts)]
    for title, contestants in tables.items():
        ours = contestants[0]
        evaluation = f"Evaluation of our model adds {statistics.median(ours.evaluation):.2f} s to a round."
        parts += ["", title, "", table(contestants), "", evaluation]
    return "\n".join(parts)


INTRODUCTION = """\
## Rounds of others

`python -m benchmarks.peers --page`: each in processes of its own, in turn. First rounds and evaluation are
left out. *Start* is what passes before the first round, imports of Python left out for FedLedger and pfl;
for Flower it is all but the rounds, Ray's start and end among it.
"""
LARGE = "Ten clients, `cnn`, 40,000 examples a round in Poisson batches of 32, noise in every step:"
SMALL = (
    "pfl's CIFAR-10 setting: cohorts of 50 clients, 50 images each, batches of 10, one "
    "epoch, 1,626,442 parameters:"
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pfl", default="", help="a checkout of pfl; else its own program is left out")
    parser.add_argument("--pfl-python", default="", help="a Python with pfl and torch; else pfl is left out")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", action="store_true", help="write the section of docs/performance.md")
    arguments = parser.parse_args()
    facts = machine()
    with tempfile.TemporaryDirectory() as place:
        tables = {LARGE: large(Path(place), arguments.rounds)}
        if arguments.pfl_python:
            tables[SMALL] = small(arguments.pfl_python, arguments.pfl, arguments.rounds)
        for contestants in tables.values():
            take_turns(contestants, arguments.turns)
    print(section(tables, facts))
    if arguments.json:
        found = {title: [asdict(each) for each in contestants] for title, contestants in tables.items()}
        arguments.json.write_text(json.dumps(facts | {"tables": found}, indent=1))
    if arguments.page:
        write_section(PAGE, "peers", section(tables, facts))


if __name__ == "__main__":
    main()
