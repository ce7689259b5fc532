"""Our scattering transform against kymatio's: speed on one core, and the largest difference.

`python -m benchmarks.scattering` prints both, and ours alone where kymatio is not installed. With `--vectors
FILE` it also writes kymatio's outputs for drawn images, to which tests hold ours.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.models.scattering.transform import Scattering

BATCH, REPEATS = 64, 15
CASES = {"cifar": (2, 8, (32, 32), 2), "oblong": (3, 6, (32, 48), 1)}
"""Scales, orientations, image size and number of images of each test vector."""

Transform = Callable[[Tensor], Tensor]


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


@torch.inference_mode()
def main() -> None:
    """Measure in turns, so that both meet the same noise, and compare the best times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--vectors", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.from_numpy(drawn_images(BATCH, (32, 32))).float() / 255
    ways = {"ours": ours(2, 8, (32, 32))}
    if find_spec("kymatio"):
        ways["kymatio"] = kymatios(2, 8, (32, 32))
    outputs = {name: way(images) for name, way in ways.items()}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(REPEATS):
        for name, way in ways.items():
            began = time.perf_counter()
            way(images)
            best[name] = min(best[name], time.perf_counter() - began)
    for name, seconds in best.items():
        print(
            f"{name:8} {BATCH / seconds:7.0f} images/s; 50,000 images take {50_000 * seconds / BATCH:.0f} s"
        )
    if "kymatio" in ways:
        difference = (outputs["ours"] - outputs["kymatio"]).abs().max().item()
        print(f"ratio    {best['kymatio'] / best['ours']:.2f}; largest difference {difference:.1e}")
    if arguments.vectors:
        write_vectors(arguments.vectors)


if __name__ == "__main__":
    main()
