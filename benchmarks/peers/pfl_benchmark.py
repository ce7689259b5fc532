"""Rounds of pfl's own CIFAR-10 benchmark, as its repository has it: writes each round's seconds as JSON.

It runs `image_classification/pytorch/train.py` of a checkout of github.com/apple/pfl-research with the
settings that lie beside it and its central Gaussian mechanism, on random images, and reads what its stopwatch
prints.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

_PROGRAM, _SETTINGS = "image_classification/pytorch/train.py", "image_classification/configs/baseline.yaml"
_DURATION = re.compile(r"^\s*Duration of iteration \(s\)\s*:\s*([0-9.]+)", re.MULTILINE)


def write_images(folder: Path, *, train: int, test: int) -> None:
    """Write random images in the form in which the benchmark reads CIFAR-10."""
    generator = np.random.default_rng(0)
    for name, count in (("train", train), ("test", test)):
        images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        labels = generator.integers(0, 10, (count, 1))
        (folder / f"cifar10_{name}.p").write_bytes(pickle.dumps((images, labels)))


def run(python: str, checkout: Path, rounds: int) -> tuple[list[float], float]:
    """Return the seconds of each round, and those of the whole program.

    Raises:
        subprocess.CalledProcessError: when it fails.
    """
    with tempfile.TemporaryDirectory() as place:
        write_images(Path(place), train=50_000, test=10_000)
        command = [python, _PROGRAM, "--args_config", _SETTINGS, "--data_path", place]
        command += ["--central_num_iterations", str(rounds)]
        command += ["--central_privacy_mechanism", "gaussian_moments_accountant"]
        home = checkout.absolute() / "benchmarks"
        began = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=home,
            env=os.environ | {"PYTHONPATH": str(home)},
            check=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        whole = time.perf_counter() - began
    return [float(seconds) for seconds in _DURATION.findall(done.stdout)], whole


def main() -> None:
    """Run a few rounds; the first, which warms up and evaluates, is left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", help="a Python with pfl and torch")
    parser.add_argument("checkout", type=Path, help="of pfl's repository")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    rounds, whole = run(arguments.python, arguments.checkout, arguments.rounds + 1)
    arguments.json.write_text(json.dumps({"rounds": rounds[1:], "start": whole - sum(rounds)}))


if __name__ == "__main__":
    main()
