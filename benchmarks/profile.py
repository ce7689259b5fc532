"""What a step is made of, as pictures: `python -m benchmarks.profile [--page]`.

PyTorch's profiler counts the time of each operation by itself, on one thread; the operations are put together
to parts, and each way's parts are drawn as one bar, in units of the plain step. The profiler itself takes
time, of small operations most.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from markupsafe import Markup
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.page import PAGE, in_words, machine, write_section
from benchmarks.step import opacus_ghost, opacus_hooks, ours, ours_by_library, plain
from client.kernels import library
from common.models import build_model

CASES = (("cnn", 64), ("cnn-tanh", 64))
WAYS: dict[str, Callable[..., Callable[[], object]]] = {
    "plain": plain,
    "Opacus, hooks (before)": opacus_hooks,
    "Opacus, ghost": opacus_ghost,
    "FedLedger, no kernels": ours_by_library,
    "FedLedger (after)": ours,
}
PARTS = {
    "convolutions": ("convolution", "correlate", "kernel_gradients", "plane_sums"),
    "pooling, activations, normalisation": (
        *("pool", "relu", "clamp", "threshold", "tanh", "norm_backward", "group_norm", "softmax"),
        *("nll", "largest"),
    ),
    "matrix products": ("aten::mm", "bmm", "addmm", "addmv", "aten::dot"),
    "copies and patches": ("copy", "clone", "im2col", "fill", "zero", "cat", "masked", "resize", "lanes"),
    "norms, sums, scaling": (
        "squares",
        "weighted_sum",
        "vector_norm",
        "aten::sum",
        "aten::mul",
        "aten::div",
        "aten::add",
        "stack",
    ),
    "noise": ("normal", "onto_grid"),
}
OTHER = "the rest, Python's share of it left out"
_COLOURS = ("#4e79a7", "#76b7b2", "#59a14f", "#f28e2b", "#b07aa1", "#e15759", "#9c9c9c")
_WIDTH, _LEFT, _BAR, _GAP, _TOP = 760, 190, 26, 12, 34


def part_of(operation: str) -> str:
    """Return which part an operation of the profiler belongs to."""
    for part, words in PARTS.items():
        if any(word in operation for word in words):
            return part
    return OTHER


class SeenKernels:
    """The compiled kernels, each call of which the profiler sees."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Callable[..., None]:
        kernel = getattr(self._library, name)

        def seen(*arguments: Any) -> None:
            with record_function(name):
                kernel(*arguments)

        return seen


def parts_of_step(step: Callable[[], object], calls: int) -> dict[str, float]:
    """Return the milliseconds of each part in one step, means over several."""
    for _ in range(3):
        step()
    kernels = SeenKernels(library._library())
    with (
        mock.patch.object(library, "_library", return_value=kernels),
        profile(activities=[ProfilerActivity.CPU]) as profiler,
    ):
        for _ in range(calls):
            step()
    found = dict.fromkeys([*PARTS, OTHER], 0.0)
    for event in profiler.key_averages():
        found[part_of(event.key)] += event.self_cpu_time_total / 1e3 / calls
    return found


def measure(name: str, batch: int) -> dict[str, dict[str, float]]:
    """Return each way's parts, on one network and batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (batch,), generator=generator)
    calls = 50 if name == "cnn" else 5
    return {
        way: parts_of_step(make(build_model(name, num_classes=10), images, labels), calls)
        for way, make in WAYS.items()
    }


def picture(title: str, found: dict[str, dict[str, float]]) -> str:
    """Draw one bar a way, as long as its time over that of the first, with a legend; SVG."""
    base = sum(next(iter(found.values())).values())
    longest = max(sum(parts.values()) for parts in found.values()) / base
    unit = (_WIDTH - _LEFT - 70) / longest
    bars = [_bar(way, parts, base, unit, row) for row, (way, parts) in enumerate(found.items())]
    foot = _TOP + len(found) * (_BAR + _GAP) + 8
    legend = [
        Markup('<rect x="{}" y="{}" width="12" height="12" fill="{}"/><text x="{}" y="{}">{}</text>').format(
            *(_LEFT, foot + 18 * row, colour, _LEFT + 18, foot + 18 * row + 10, part)
        )
        for row, (part, colour) in enumerate(zip([*PARTS, OTHER], _COLOURS, strict=True))
    ]
    height = foot + 18 * len(_COLOURS) + 8
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
            'role="img" font-family="sans-serif" font-size="12"><title>{2}</title>'
            '<rect width="{0}" height="{1}" fill="#ffffff"/>'
            '<text x="{3}" y="20" font-weight="bold">{2}</text>{4}</svg>\n'
        ).format(_WIDTH, height, title, _LEFT, Markup("").join([*bars, *legend]))
    )


def _bar(way: str, parts: dict[str, float], base: float, unit: float, row: int) -> Markup:
    top, left, pieces = _TOP + row * (_BAR + _GAP), float(_LEFT), []
    for (part, milliseconds), colour in zip(parts.items(), _COLOURS, strict=True):
        width = milliseconds / base * unit
        pieces.append(
            Markup(
                '<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" fill="{}"><title>{}</title></rect>'
            ).format(left, top, width, _BAR, colour, f"{part}: {milliseconds:.2f} ms")
        )
        left += width
    total = sum(parts.values()) / base
    label = Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(_LEFT - 8, top + 17, way)
    ratio = Markup('<text x="{:.1f}" y="{}">{:.2f}</text>').format(left + 6, top + 17, total)
    return Markup("").join([label, *pieces, ratio])


def table(found: dict[str, dict[str, float]]) -> str:
    """Return the milliseconds of each part as a table in Markdown."""
    lines = ["| ms of a step | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    lines += [
        f"| {part} | " + " | ".join(f"{parts[part]:.2f}" for parts in found.values()) + " |"
        for part in [*PARTS, OTHER]
    ]
    return "\n".join(lines)


def section(found: dict[str, dict[str, dict[str, float]]], facts: dict[str, Any]) -> str:
    """Return the section of the page."""
    parts = [INTRODUCTION, in_words(facts)]
    for name, ways in found.items():
        parts += ["", f"![What a step of {name} is made of](images/step-{name}.svg)", "", table(ways)]
    return "\n".join([*parts, "", REMAINS])


INTRODUCTION = """\
## What a step is made of

`python -m benchmarks.profile --page`: time in PyTorch's operations and in the compiled kernels on one
thread, by PyTorch's profiler, in units of a plain step. The bars of FedLedger hold its noise.
"""
REMAINS = """\
With sixteen records side by side a record's gradient costs what the sum of the records' would, so that the
kernels of a private step do the arithmetic of a plain one; they do it at 100 GFLOP/s and more of the about
115 that one core of this machine has, where the library reaches 30 to 90 on layers of so few channels. What
remains beside it, for `cnn`, are small operations of PyTorch: losses, three linear layers, norms and sums,
about half of its step. A next factor would need them in one call, and for 3 x 3 kernels on many channels
less arithmetic (Winograd's products) or shorter numbers (bfloat16 on processors that have it).
"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="write the section and pictures of the page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine()
    found = {name: measure(name, batch) for name, batch in CASES}
    print(section(found, facts))
    if arguments.page:
        write_section(PAGE, "profile", section(found, facts))
        for name, batch in CASES:
            title = f"A step of {name}, batch {batch}, over a plain one"
            _image(name).write_text(picture(title, found[name]), encoding="utf-8")


def _image(name: str) -> Path:
    return PAGE.parent / "images" / f"step-{name}.svg"


if __name__ == "__main__":
    main()
