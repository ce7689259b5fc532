"""A round of a federation beside plain training: `python -m benchmarks.round [--data-dir DIR]`.

Ten clients, the default network, Poisson batches of 32 and 125 steps each: 40,000 examples a round. After
each round of a simulation, as many threads as it has workers take as many plain steps over as many examples,
by nothing but PyTorch, so that both feel the same machine. A round is all that its user waits for: messages,
ledgers, training, averaging, evaluation and records.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.page import PAGE, in_words, machine, write_section
from benchmarks.process_use import peak_of_family
from common.config import RunConfig, resolve
from common.data import BatchTransform
from common.data.shares import split_of
from common.models import build_model
from server.observer import RunObserver
from server.state import RoundOutcome, RunState
from simulations import simulate

CLIENTS, BATCH, STEPS = 10, 32, 125


@dataclass(frozen=True, kw_only=True)
class RoundFigures:
    """Seconds of each round (the first, which warms up, left out), and what came before the first."""

    start: float
    rounds: list[float]
    plain: list[float]
    peak_mebibytes: float

    @property
    def over_plain(self) -> float:
        """The median over rounds of a round's time over that of the plain steps next to it."""
        return statistics.median(mine / plain for mine, plain in zip(self.rounds, self.plain, strict=True))


class Bystander(RunObserver):
    """Takes plain steps after each round, and notes how long both took."""

    def __init__(self, plain_steps: Callable[[], None]) -> None:
        super().__init__()
        self._plain_steps = plain_steps
        self._began = time.perf_counter()
        self._asked = 0.0
        self.start = 0.0
        self.rounds: list[float] = []
        self.plain: list[float] = []

    def round_started(self, number: int, cohort_size: int) -> None:
        """Note when the clients are asked."""
        self._asked = time.perf_counter()
        self.start = self.start or self._asked - self._began

    def round_finished(self, state: RunState, outcome: RoundOutcome) -> None:
        """Note how long the round took, from the request to the record; then take the plain steps."""
        self.rounds.append(time.perf_counter() - self._asked)
        began = time.perf_counter()
        self._plain_steps()
        self.plain.append(time.perf_counter() - began)


def settings(rounds: int, data_dir: str, out: str) -> RunConfig:
    """Return the run's configuration."""
    images = {"data.dataset": "folder", "data.data-dir": data_dir} if data_dir else {}
    return resolve(
        images,
        {
            "federation.num-clients": CLIENTS,
            "federation.num-server-rounds": rounds,
            "data.partitioner": "iid",
            "training.batch-size": BATCH,
            "training.local-steps": STEPS,
            "runtime.out": out,
        },
    )


def plain_training(config: RunConfig) -> Callable[[], None]:
    """Return what takes all clients' steps without privacy, on as many threads as a round has workers."""
    train = split_of(config).train
    transform = BatchTransform(augmentation="none", device=torch.device("cpu"))

    def one_client(seed: int) -> None:
        model = build_model(config.model.name, num_classes=len(train.classes))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(STEPS):
            batch = torch.randint(len(train), (BATCH,), generator=generator)
            optimizer.zero_grad()
            images = transform(train.images[batch], None)
            functional.cross_entropy(model(images), train.labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def all_clients() -> None:
        with ThreadPoolExecutor(max_workers=config.runtime.num_workers) as pool:
            list(pool.map(one_client, range(CLIENTS)))

    return all_clients


def measure(rounds: int, data_dir: str) -> RoundFigures:
    """Run one simulation in this process."""
    with tempfile.TemporaryDirectory() as place:
        config = settings(rounds + 1, data_dir, str(Path(place) / "run"))
        watch = Bystander(plain_training(config))
        simulate(config, observer=watch)
    return RoundFigures(
        start=watch.start,
        rounds=watch.rounds[1:],
        plain=watch.plain[1:],
        peak_mebibytes=_apart(peak_alone, data_dir),
    )


def peak_alone(data_dir: str) -> float:
    """Return the memory of two rounds, in MiB, without plain training beside them."""
    with tempfile.TemporaryDirectory() as place, peak_of_family() as peak:
        simulate(settings(2, data_dir, str(Path(place) / "run")))
    return peak.mebibytes


def _apart(work: Callable[[str], float], data_dir: str) -> float:
    """Run work in a process of its own, so that its memory is its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as process:
        return process.submit(work, data_dir).result()


def section(figures: RoundFigures, facts: dict[str, Any]) -> str:
    """Return the section of the page."""
    peak = f"{figures.peak_mebibytes:.0f} MiB"
    return f"""\
## A round beside plain training

`python -m benchmarks.round --page`: ten clients, `cnn`, {CLIENTS * BATCH * STEPS:,} examples a round, in
Poisson batches of {BATCH}. *Plain* is a bare loop of PyTorch over as many steps and examples, without
privacy, messages, ledgers and evaluation, on as many threads; it runs after each round.

{in_words(facts)}

| | |
|---|---|
| a round, median of {len(figures.rounds)} | {statistics.median(figures.rounds):.2f} s |
| plain, median | {statistics.median(figures.plain):.2f} s |
| **a round over plain**, median of pairs | **{figures.over_plain:.2f}** |
| from the start of the program's work to the first round | {figures.start:.1f} s |
| peak memory of all its processes, shared pages counted once, without the plain training | {peak} |
"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default="", help="image folder; else synthetic images")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", action="store_true", help="write the section of docs/performance.md")
    arguments = parser.parse_args()
    facts = machine()
    figures = measure(arguments.rounds, arguments.data_dir)
    print(section(figures, facts))
    if arguments.json:
        arguments.json.write_text(json.dumps(facts | asdict(figures), indent=1))
    if arguments.page:
        write_section(PAGE, "round", section(figures, facts))


if __name__ == "__main__":
    main()
