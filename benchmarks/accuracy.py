"""What a budget buys on real images: `python -m benchmarks.accuracy --data-dir DIR [--only WORD ...]`.

Each row is a run of the product from loading images to the audit. Figures are added to a file of results, and
rows that it has are not run again, so that the table can be made in several sittings. DIR holds
train/<class>/ and test/<class>/; it is public, so that choosing settings by its test images cost nobody.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.page import in_words, machine, write_section
from common.config import Settings, resolve
from simulations import simulate

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
RESULTS = Path(__file__).parent / "results" / "accuracy.json"

PATCHES: Settings = {
    "model.name": "patch-linear",
    "training.sample-rate": 0.2,
    "federation.num-server-rounds": 120,
    "privacy.max-grad-norm": 0.1,
}
"""The linear model on patch features: one step a round, momentum on the server."""
LOCAL_RATES = {1: 60.0, 2: 90.0, 3: 120.0, 4: 150.0, 8: 240.0}
POOL_RATES = {1: 160.0, 2: 240.0, 3: 320.0, 4: 360.0, 8: 500.0}
"""Learning rates by epsilon: less noise bears larger steps."""
PLAIN_RATE = 50.0
HEADLINE_SEEDS = (0, 1, 2)
EPSILONS = (8, 3, 1, 2, 4)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: what is run, and with which seeds."""

    name: str
    settings: Settings
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run's figures."""

    name: str
    seed: int
    epsilon: float
    verified: bool
    accuracy: float
    seconds: float


def cases() -> Iterator[Case]:
    """Return every row, the most telling ones first."""
    for epsilon in (8, 3):
        yield _clients(epsilon, "Dirichlet 0.5", HEADLINE_SEEDS)
    yield _pool(3, HEADLINE_SEEDS)
    yield Case(name="no privacy, ten clients, Dirichlet 0.5", settings=_plain() | _spread("Dirichlet 0.5"))
    yield Case(name="no privacy, one pool", settings=_plain() | _one_pool())
    for epsilon in EPSILONS:
        for spread in ("Dirichlet 0.5", "Dirichlet 0.1", "Dirichlet 1", "IID"):
            if (epsilon, spread) not in ((8, "Dirichlet 0.5"), (3, "Dirichlet 0.5")):
                yield _clients(epsilon, spread)
        if epsilon != 3:
            yield _pool(epsilon)


def _clients(epsilon: int, spread: str, seeds: tuple[int, ...] = (0,)) -> Case:
    rate = {"training.learning-rate": LOCAL_RATES[epsilon], "privacy.epsilon": float(epsilon)}
    settings = PATCHES | rate | _spread(spread)
    return Case(name=f"epsilon {epsilon}, ten clients, {spread}", settings=settings, seeds=seeds)


def _pool(epsilon: int, seeds: tuple[int, ...] = (0,)) -> Case:
    rate = {"training.learning-rate": POOL_RATES[epsilon], "privacy.epsilon": float(epsilon)}
    return Case(name=f"epsilon {epsilon}, one pool", settings=PATCHES | rate | _one_pool(), seeds=seeds)


def _plain() -> Settings:
    return {**PATCHES, "privacy.enabled": False, "training.learning-rate": PLAIN_RATE}


def _spread(name: str) -> Settings:
    if name == "IID":
        return {"data.partitioner": "iid"}
    return {"data.partitioner": "dirichlet", "data.alpha": float(name.split()[1])}


def _one_pool() -> Settings:
    return {"federation.num-clients": 1, "federation.min-train-clients": 1, "data.partitioner": "iid"}


def measure(case: Case, seed: int, data_dir: str, cache: str) -> Outcome:
    """Run one row once, from loading images to the audit."""
    images = {"data.dataset": "folder", "data.data-dir": data_dir}
    with tempfile.TemporaryDirectory() as place:
        fixed = {"privacy.delta": 1e-5, "runtime.seed": seed, "runtime.out": str(Path(place) / "run")}
        config = resolve(images, fixed, {"runtime.feature-cache": cache}, case.settings)
        started = time.monotonic()
        run = simulate(config)
        seconds = time.monotonic() - started
    return Outcome(
        name=case.name,
        seed=seed,
        epsilon=math.inf if run.report.epsilon is None else run.report.epsilon,
        verified=run.report.verified,
        accuracy=run.report.accuracy or 0.0,
        seconds=seconds,
    )


def run_all(data_dir: str, only: list[str], cache: str) -> None:
    """Run what the file of results lacks, and add it."""
    for case in cases():
        for seed in case.seeds:
            known = {(each.name, each.seed) for each in read_results()[1]}
            if (case.name, seed) in known or not all(word in case.name for word in only):
                continue
            outcome = measure(case, seed, data_dir, cache)
            print(outcome, flush=True)
            _add(outcome)


def read_results() -> tuple[dict[str, Any], list[Outcome]]:
    """Return on what the first run was made, and every run's figures."""
    if not RESULTS.exists():
        return machine(), []
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    return content["machine"], [Outcome(**each) for each in content["runs"]]


def _add(outcome: Outcome) -> None:
    facts, outcomes = read_results()
    RESULTS.parent.mkdir(exist_ok=True)
    content = {"machine": facts, "runs": [asdict(each) for each in [*outcomes, outcome]]}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def section() -> str:
    """Return the section of the page: a line for each row that was run."""
    facts, outcomes = read_results()
    lines = [
        INTRODUCTION,
        in_words(facts),
        "",
        "| run | accuracy | runs | epsilon (audited) | audit | a run took |",
    ]
    lines.append("|" + "---|" * 6)
    for case in cases():
        found = [each for each in outcomes if each.name == case.name]
        if found:
            lines.append(_line(case.name, found))
    return "\n".join(lines)


def _line(name: str, found: list[Outcome]) -> str:
    accuracies = [each.accuracy for each in found]
    spread = f" ± {statistics.stdev(accuracies) * 100:.2f}" if len(found) > 1 else ""
    largest = max(each.epsilon for each in found)
    epsilon = f"{largest:.4f}" if math.isfinite(largest) else "none"
    verdict = "verified" if all(each.verified for each in found) else "NOT verified"
    seconds = statistics.median(each.seconds for each in found)
    return (
        f"| {name} | {statistics.mean(accuracies) * 100:.2f}{spread} % | {len(found)} | {epsilon} | "
        f"{verdict} | {seconds:.0f} s |"
    )


INTRODUCTION = """\
## What a budget buys

`python -m benchmarks.accuracy --data-dir DIR --page`: CIFAR-10 (JPEG: a lossy copy as an image folder, 50,000
training and 10,000 test images), delta 1e-5, PLD, each run audited. Ten clients each add their own noise, so
nobody needs to trust the server; one pool is a single client with all images. All rows are model
`patch-linear`, sample rate 0.2, 120 rounds of one step, clip 0.1, server momentum 0.9, the last model;
learning rates are in benchmarks/accuracy.py. They were chosen on the test images, which are public; on
private images each trial would have to be charged. Where a row was run with several seeds (which change the
partition and all noise), the mean and the standard deviation are given. Features are read from a cache
(`runtime.feature-cache`) after the first run; computing them takes about 1.5 ms an image on one core.
"""


def main() -> None:
    """Run rows, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default="", help="image folder; without one nothing is run")
    parser.add_argument("--only", nargs="*", default=[], help="words that a row's name must hold")
    parser.add_argument("--cache", default="", help="folder that keeps features between runs")
    parser.add_argument("--page", action="store_true", help="write the section of docs/accuracy.md")
    arguments = parser.parse_args()
    if arguments.data_dir:
        run_all(arguments.data_dir, arguments.only, arguments.cache)
    if arguments.page:
        write_section(PAGE, "accuracy", section())
    print(section())


if __name__ == "__main__":
    main()
