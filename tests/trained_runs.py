"""Folders of runs that hold a model and what it takes to use it, without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.arrays import Arrays, to_bytes
from common.config import resolve, to_toml
from common.data.synthetic import SHAPES, draw_images
from common.models import initial_arrays
from common.run_folder import RunFolder

CLASSES = tuple(SHAPES)
EXTRAS = ("captum", "onnx", "onnxscript", "onnxruntime")


def write_trained(root: Path, model: str = "cnn", **settings: Any) -> RunFolder:
    """Write settings, classes and weights that the first seed draws; a linear head's are not left at zero."""
    folder = RunFolder(root)
    root.mkdir(parents=True)
    folder.config.write_text(to_toml(resolve({"model.name": model}, settings)), encoding="utf-8")
    folder.evaluation.write_text(json.dumps({"classes": CLASSES}), encoding="utf-8")
    folder.model.write_bytes(to_bytes(arrays_of(model)))
    return folder


def arrays_of(model: str) -> Arrays:
    """Return a model's weights, the same every time."""
    arrays = initial_arrays(model, num_classes=len(CLASSES), seed=0)
    rng = np.random.default_rng(3)
    return {
        name: values if values.any() else rng.normal(0, 0.02, values.shape).astype(np.float32)
        for name, values in arrays.items()
    }


def save_images(folder: Path, count: int, *, by_class: bool = False) -> list[Path]:
    """Save synthetic images, in folders of their classes under test/ if wanted, and return their paths."""
    data = draw_images(count, np.random.default_rng(7))
    paths = []
    for number, (pixels, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        place = folder / "test" / CLASSES[label] if by_class else folder
        place.mkdir(parents=True, exist_ok=True)
        paths.append(place / f"{number:03d}.png")
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(paths[-1])
    return paths
