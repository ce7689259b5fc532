"""FedLedger's rounds for the comparison with others: writes each round's seconds as JSON.

`large`: ten clients, 125 Poisson batches of 32 each, the default network. `small`: the work of pfl's CIFAR-10
benchmark, cohorts of 50 clients with 50 images each and five batches of 10, but with private gradients and
noise in every step, where pfl clips and noises whole updates; `small-plain`: without either. All are audited.
Evaluation, which the others leave out here, is timed apart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks.peers.network import simple_cnn
from benchmarks.round import Bystander, settings
from common.arrays import Arrays
from common.config import RunConfig, resolve
from common.models import MODELS, ModelSpec
from server.evaluation import Evaluation, Evaluator
from simulations import simulate

COHORT, POPULATION = 50, 240


def small_settings(rounds: int, out: str, *, private: bool) -> RunConfig:
    """Return many small clients: 12,000 synthetic images in shares of 50."""
    return resolve(
        {
            "federation.num-clients": POPULATION,
            "federation.fraction-train": COHORT / POPULATION,
            "federation.num-server-rounds": rounds,
            "data.partitioner": "iid",
            "model.name": "simple-cnn",
            "training.sample-rate": 0.2,
            "training.local-steps": 5,
            "privacy.enabled": private,
            "runtime.out": out,
        },
    )


def time_evaluations() -> list[float]:
    """Return a list that every evaluation from now on adds its seconds to."""
    seconds: list[float] = []
    evaluate = Evaluator.evaluate

    def timed(evaluator: Evaluator, arrays: Arrays) -> Evaluation:
        began = time.perf_counter()
        evaluation = evaluate(evaluator, arrays)
        seconds.append(time.perf_counter() - began)
        return evaluation

    Evaluator.evaluate = timed  # type: ignore[method-assign,assignment]
    return seconds


def main() -> None:
    """Run a few rounds; the first, which warms up, is written apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=("large", "small", "small-plain"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    MODELS["simple-cnn"] = ModelSpec(
        name="simple-cnn", summary="pfl's network", image_size=32, build=simple_cnn
    )
    watch, evaluations = Bystander(lambda: None), time_evaluations()
    with tempfile.TemporaryDirectory() as place:
        out = str(Path(place) / "run")
        if arguments.work == "large":
            config = settings(arguments.rounds + 1, "", out)
        else:
            config = small_settings(arguments.rounds + 1, out, private=arguments.work == "small")
        run = simulate(config, observer=watch)
    figures = {
        "start": watch.start,
        "first": watch.rounds[0],
        "rounds": watch.rounds[1:],
        "evaluations": evaluations[1:],
        "verified": run.report.verified,
    }
    arguments.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
