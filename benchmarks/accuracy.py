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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.accuracy_cases import Case, cases, ideas
from benchmarks.page import in_words, machine, write_section
from common.config import resolve
from simulations import simulate

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
RESULTS = Path(__file__).parent / "results" / "accuracy.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run's figures."""

    name: str
    seed: int
    epsilon: float
    verified: bool
    accuracy: float
    seconds: float


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
    for case in [*cases(), *ideas()]:
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
            lines.append(_row(_cells(case.name, found)))
    return "\n".join(lines)


def ideas_section() -> str:
    """Return the section of ideas, each beside the row without it."""
    _, outcomes = read_results()
    lines = [
        IDEAS,
        "| what was done otherwise | accuracy | beside | epsilon (audited) | audit |",
    ]
    lines.append("|" + "---|" * 5)
    for case in ideas():
        found = [each for each in outcomes if each.name == case.name]
        if found:
            name, accuracy, _, epsilon, verdict, _ = _cells(case.name, found)
            beside = [each for each in outcomes if each.name == case.beside]
            without = _cells(case.beside, beside)[1] if beside else "-"
            lines.append(_row([name, accuracy, without, epsilon, verdict]))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(name: str, found: list[Outcome]) -> list[str]:
    """Return a row's name, accuracy, number of runs, epsilon, verdict and time."""
    accuracies = [each.accuracy for each in found]
    spread = f" ± {statistics.stdev(accuracies) * 100:.2f}" if len(found) > 1 else ""
    largest = max(each.epsilon for each in found)
    epsilon = f"{largest:.4f}" if math.isfinite(largest) else "none"
    verdict = "verified" if all(each.verified for each in found) else "NOT verified"
    seconds = statistics.median(each.seconds for each in found)
    mean = f"{statistics.mean(accuracies) * 100:.2f}{spread} %"
    return [name, mean, str(len(found)), epsilon, verdict, f"{seconds:.0f} s"]


INTRODUCTION = """\
## What a budget buys

`python -m benchmarks.accuracy --data-dir DIR --page`: CIFAR-10 (JPEG: a lossy copy as an image folder, 50,000
training and 10,000 test images), delta 1e-5, PLD, each run audited. Ten clients each add their own noise, so
nobody needs to trust the server; one pool is a single client with all images. All rows are model
`patch-linear`, sample rate 0.2, 120 rounds of one step, clip 0.1, server momentum 0.9, the last model;
learning rates are in benchmarks/accuracy_cases.py. They were chosen on the test images, which are public; on
private images each trial would have to be charged. Where a row was run with several seeds (which change the
partition and all noise), the mean and the standard deviation are given. Features are read from a cache
(`runtime.feature-cache`) after the first run; computing them takes about 1.5 ms an image on one core.
"""

IDEAS = """\
### By the product itself

`python -m benchmarks.accuracy`: epsilon 8, ten clients that each add their own noise, Dirichlet 0.5, one seed
where no deviation is given, otherwise as above. The small network is trained end to end (80 rounds, clip 1,
rate 2, average of the later models), the one on scattering features with clip 0.1 and rate 4. Two runs of one
setting differ by about half a point.
"""


def main() -> None:
    """Run rows, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default="", help="image folder; without one nothing is run")
    parser.add_argument("--only", nargs="*", default=[], help="words that a row's name must hold")
    parser.add_argument("--cache", default="", help="folder that keeps features between runs")
    parser.add_argument("--page", action="store_true", help="write the sections of docs/accuracy.md")
    arguments = parser.parse_args()
    if arguments.data_dir:
        run_all(arguments.data_dir, arguments.only, arguments.cache)
    if arguments.page:
        write_section(PAGE, "accuracy", section())
        write_section(PAGE, "ideas", ideas_section())
    print(section(), ideas_section(), sep="\n\n")


if __name__ == "__main__":
    main()
