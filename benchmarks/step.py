"""What one step of DP-SGD costs beside a plain step: `python -m benchmarks.step [--json FILE]`.

The same network, batch and device for each way; the ways take turns, and every ratio is the median over
turns. Ways: a plain step of SGD; ours; stock Opacus with per-record gradients written out by its hooks; stock
Opacus with ghost clipping. Batches are fixed, so that loading and sampling are left out of all.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.interleaved import Timing, in_turn
from benchmarks.page import PAGE, in_words, machine, write_section
from client import kernels
from client.flat import FlatParameters
from client.gradients import record_network
from client.kernels.parallel import cores_for_kernels
from client.noise import PrivateRandomness
from client.optimizer import OptimizerSettings, PrivateOptimizer
from client.trainer import quickest_layout
from common.models import build_model

CASES = (("cnn", 64), ("cnn", 512), ("cnn-tanh", 64), ("cnn-tanh", 256))
Step = Callable[[], object]


def plain(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Return a step of SGD without privacy, as anyone would write it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def plain_channels_last(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Return a plain step by who knows that convolutions are quicker with channels last in memory."""
    return plain(model.to(memory_format=torch.channels_last), images, labels)


def noise_alone(model: nn.Module) -> Step:
    """Return the drawing of a step's noise, by itself and on one core."""
    stream = PrivateRandomness.from_operating_system().noise
    count = sum(parameter.numel() for parameter in model.parameters())

    def draw() -> None:
        stream.standard_normals(count)

    return draw


def ours(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Return a step as a client of FedLedger takes it: large batches in parts if its network asks for it."""
    parameters = FlatParameters(quickest_layout(model))
    network = record_network(model)
    rule = OptimizerSettings(name="sgd", learning_rate=0.01).build([parameters.vector])
    optimizer = PrivateOptimizer(
        rule,
        network=network,
        parameters=parameters,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=float(len(images)),
        noise=PrivateRandomness.from_operating_system().noise,
        spare_core=torch.get_num_threads() < (os.cpu_count() or 1),
    )

    some = network.most_at_once or len(images)
    parts = list(zip(torch.split(images, some), torch.split(labels, some), strict=True))

    def step() -> None:
        with cores_for_kernels() if network.most_at_once else nullcontext():
            for part, of_part in parts:
                optimizer.absorb(functional.cross_entropy(network(part), of_part, reduction="none"))
            optimizer.finish_batch()

    return step


def ours_by_library(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Return our step where no kernels were built: by PyTorch alone."""
    with without_kernels():
        step = ours(model, images, labels)

    def switched_off() -> None:
        with without_kernels():
            step()

    return switched_off


@contextmanager
def without_kernels() -> Iterator[None]:
    """Leave the compiled kernels aside for a while."""
    before, kernels.at_hand = kernels.at_hand, lambda: False
    try:
        yield
    finally:
        kernels.at_hand = before


def opacus_hooks(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Return a step of stock Opacus, per-record gradients written out."""
    hooked = GradSampleModule(model, loss_reduction="mean")
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.01),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=len(images),
    )

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(hooked(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def opacus_ghost(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Return a step of stock Opacus with ghost clipping: two backward passes, no gradient written out."""
    hooked = GradSampleModuleFastGradientClipping(
        model, max_grad_norm=1.0, use_ghost_clipping=True, loss_reduction="mean"
    )
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(model.parameters(), lr=0.01),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=len(images),
    )
    loss = DPLossFastGradientClipping(hooked, optimizer, nn.CrossEntropyLoss())

    def step() -> None:
        optimizer.zero_grad()
        loss(hooked(images), labels).backward()
        optimizer.step()

    return step


WAYS = {
    "plain": plain,
    "ours": ours,
    "ours, no kernels": ours_by_library,
    "opacus hooks": opacus_hooks,
    "opacus ghost": opacus_ghost,
    "plain, channels last": plain_channels_last,
}


def measure(name: str, batch: int, turns: int, only: list[str]) -> dict[str, Timing]:
    """Time every way, and our noise alone, on one network and batch size."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (batch,), generator=generator)
    ways: dict[str, Step] = {
        way: WAYS[way](build_model(name, num_classes=10), images, labels) for way in only
    }
    ways["noise alone"] = noise_alone(build_model(name, num_classes=10))
    calls = max(1, 1024 // batch if name == "cnn" else 128 // batch)
    return in_turn(ways, turns=turns, calls=calls)


def row(name: str, batch: int, timings: dict[str, Timing]) -> dict[str, Any]:
    """Return one case's figures: milliseconds of the plain step, ratios to it, and the noise's share."""
    base = timings["plain"]
    ratios = {way: round(timing.over(base), 3) for way, timing in timings.items() if way in WAYS}
    share = timings["noise alone"].over(timings["ours"])
    return {
        "model": name,
        "batch": batch,
        "plain_ms": round(base.median * 1e3, 2),
        "spread": round(base.spread, 3),
        "over_plain": ratios,
        "noise_share": round(share, 4),
    }


def table(rows: list[dict[str, Any]], ways: list[str]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [f"| network | batch | plain step | {' | '.join(ways)} | noise of ours | spread |"]
    lines.append("|" + "---|" * (len(ways) + 5))
    for figures in rows:
        ratios = " | ".join(f"{figures['over_plain'][way]:.2f}" for way in ways)
        lines.append(
            f"| {figures['model']} | {figures['batch']} | {figures['plain_ms']} ms | {ratios} | "
            f"{figures['noise_share']:.1%} | ±{figures['spread']:.0%} |"
        )
    return "\n".join(lines)


def section(found: dict[str, Any], ways: list[str]) -> str:
    """Return the section of the page."""
    parts = [INTRODUCTION, in_words(found["machine"])]
    for threads, rows in found["threads"].items():
        parts += ["", f"{threads} thread{'s' if threads > 1 else ''} of PyTorch:", "", table(rows, ways)]
    return "\n".join(parts)


INTRODUCTION = """\
## A step of DP-SGD beside a plain one

`python -m benchmarks.step --page`: times over that of a plain step of the same network and batch, in turn;
medians over turns. *Noise of ours* is how long drawing a step's noise takes by itself, on one core, over our
step (where a core is spare it is drawn there meanwhile). A simulation trains one client on each core, so one
thread is what it uses.
"""


def main() -> None:
    """Print a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument(
        "--threads", type=int, nargs="*", default=[1, 2], help="of PyTorch, one after the other"
    )
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", action="store_true", help="write the section of docs/performance.md")
    arguments = parser.parse_args()
    ways = list(dict.fromkeys(["plain", "ours", *arguments.only]))
    found: dict[str, Any] = {"machine": machine(), "threads": {}}
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        rows = found["threads"][threads] = []
        for name, batch in CASES:
            rows.append(row(name, batch, measure(name, batch, arguments.turns, ways)))
            print(threads, rows[-1], flush=True)
    print(section(found, ways[1:]))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    if arguments.page:
        write_section(PAGE, "step", section(found, ways[1:]))


if __name__ == "__main__":
    main()
