"""Our scattering transform against kymatio's: speed on one core, and the largest difference.

`python -m benchmarks.scattering` takes kymatio, which FedLedger does not need: `pip install kymatio`. With
`--vectors FILE` it also writes kymatio's outputs for drawn images, to which tests hold ours.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.interleaved import Timing, in_turn
from benchmarks.page import PAGE, in_words, machine, write_section
from common.data.features import compute_features
from common.models.scattering.front import SCATTERING, channel_constants
from common.models.scattering.transform import Scattering

BATCH, LONGER = 64, 8
CASES = {"cifar": (2, 8, (32, 32), 2), "oblong": (3, 6, (32, 48), 1)}
"""Scales, orientations, image size and number of images of each test vector."""

Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What both ways took, and by how much their coefficients differ at most."""

    transforms: dict[str, Timing]
    features: dict[str, Timing]
    difference: float


def drawn_images(count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw waves, an edge and noise, uint8 [count, 3, *size]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = np.sin(x * rng.uniform(0.2, 2, (count, 3, 1, 1)) + y * rng.uniform(0.2, 2, (count, 3, 1, 1)))
    edge = (x + y > sum(size) / 2).astype(np.float64)
    noise = rng.standard_normal((count, 3, *size))
    drawn: NDArray[np.uint8] = np.clip(110 + 50 * waves + 60 * edge + 20 * noise, 0, 255).astype(np.uint8)
    return drawn


def ours(scales: int, orientations: int, size: tuple[int, int]) -> Transform:
    """Return our transform."""
    return Scattering(scales=scales, orientations=orientations, image_size=size)


def kymatios(scales: int, orientations: int, size: tuple[int, int]) -> Transform:
    """Return kymatio's transform, its channels flattened as ours are."""
    module = importlib.import_module("kymatio.scattering2d.frontend.torch_frontend")
    transform = module.ScatteringTorch2D(scales, size, orientations)
    return lambda images: transform(images).flatten(1, 2)


def write_vectors(path: Path) -> None:
    """Write each case's images and kymatio's coefficients."""
    arrays: dict[str, Any] = {}
    for name, (scales, orientations, size, count) in CASES.items():
        images = drawn_images(count, size)
        arrays[f"{name}_images"] = images
        outputs = kymatios(scales, orientations, size)(torch.from_numpy(images).float() / 255)
        arrays[f"{name}_outputs"] = outputs.numpy()
    np.savez_compressed(path, **arrays)


def features_by(way: Transform, images: Tensor) -> Tensor:
    """Compute features as a run does, by a transform in the place of the front's own."""
    means, deviations = (torch.from_numpy(each)[:, None, None] for each in channel_constants())

    def features(batch: Tensor) -> Tensor:
        return way(batch.float().div_(255)).sub_(means).div_(deviations)

    return compute_features(images, replace(SCATTERING, build=lambda _: features), device=torch.device("cpu"))


@torch.inference_mode()
def measure(turns: int) -> Figures:
    """Time both, and the whole of what becomes of images with either, in turns on one thread."""
    torch.set_num_threads(1)
    drawn = torch.from_numpy(drawn_images(BATCH, (32, 32)))
    pixels = drawn.float() / 255
    ways = {"ours": ours(2, 8, (32, 32)), "kymatio": kymatios(2, 8, (32, 32))}
    difference = (ways["ours"](pixels) - ways["kymatio"](pixels)).abs().max().item()
    transforms = in_turn({name: partial(way, pixels) for name, way in ways.items()}, turns=turns)
    more = drawn.repeat(LONGER, 1, 1, 1)
    features = in_turn({name: partial(features_by, way, more) for name, way in ways.items()}, turns=turns)
    return Figures(transforms=transforms, features=features, difference=difference)


def section(found: Figures, facts: dict[str, Any]) -> str:
    """Return the section of the page."""
    rows = "\n".join(
        f"| {what} | {images / times['ours'].median:,.0f} | {images / times['kymatio'].median:,.0f} | "
        f"{times['kymatio'].over(times['ours']):.2f} | ±{times['ours'].spread:.0%} |"
        for what, images, times in (
            ("the transform", BATCH, found.transforms),
            ("features from bytes", LONGER * BATCH, found.features),
        )
    )
    turns = len(found.transforms["ours"].seconds)
    return f"""\
## Wavelet scattering beside kymatio's

`python -m benchmarks.scattering --page`: two scales, eight orientations, {BATCH} colour images of 32 x 32
pixels, one thread of PyTorch; kymatio {version("kymatio")}, its PyTorch front end. Images a second, medians
of {turns} turns; *times* is the median, over turns, of kymatio's time over ours. *Features from bytes* is
all that a run does once a site, for {LONGER * BATCH} images: to pixels, transform, to a common scale,
float16.

{in_words(facts)}

| | ours, images/s | kymatio, images/s | times | spread |
|---|---|---|---|---|
{rows}

The largest difference of any coefficient is {found.difference:.0e}.
"""


def main() -> None:
    """Measure in turns, so that both meet the same noise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--page", action="store_true", help="write the section of docs/performance.md")
    arguments = parser.parse_args()
    facts = machine()
    text = section(measure(arguments.turns), facts)
    print(text)
    if arguments.page:
        write_section(PAGE, "scattering", text)
    if arguments.vectors:
        with torch.inference_mode():
            write_vectors(arguments.vectors)


if __name__ == "__main__":
    main()
