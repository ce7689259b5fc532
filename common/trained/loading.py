"""A run's model as it was trained, ready to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor, nn

from common.arrays import Arrays, digest, from_bytes
from common.audit.reading import Record, read_optional
from common.config import RunConfig
from common.data.transforms import BatchTransform
from common.errors import CheckpointError, ConfigError
from common.models import ModelSpec, build_model, load_arrays, spec_of
from common.new_run import settings_of
from common.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """The model of a run's last finished round.

    Args:
        folder: the run's.
        config: its settings.
        spec: the model's place in the registry.
        classes: their names, in label order.
        network: what was trained, in evaluation mode, whose weights want no gradients.
        device: where it runs.
        digest: SHA-256 of model.safetensors, as the audit knows it.
    """

    folder: RunFolder
    config: RunConfig
    spec: ModelSpec
    classes: tuple[str, ...]
    network: nn.Module
    device: torch.device
    digest: str

    def preparation(self) -> Callable[[Tensor], Tensor]:
        """Return what turns uint8 images [batch, 3, height, width] into the network's input, as in training.

        Features stay float32 here, where training keeps them as float16: scores differ in the third decimal.
        """
        if self.spec.front is None:
            transform = BatchTransform(augmentation="none", device=self.device)
            return lambda images: transform(images, None)
        front = self.spec.front.build(self.device)
        return lambda images: front(images.to(self.device))


def load_trained(root: Path, device: torch.device, *, weights: Path | None = None) -> TrainedModel:
    """Load the model of a run folder, which is not written to.

    Args:
        root: the run's folder, wherever it has been moved to.
        device: where the model is to run.
        weights: of its backbone, in another file than the run had; they must be the same.

    Raises:
        CheckpointError: when it is no run folder, holds no model yet, or holds a damaged one.
        ConfigError: when its settings name a model that this installation lacks.
    """
    moved = {} if weights is None else {"model.weights": str(weights.expanduser().absolute())}
    config = settings_of(root, moved)
    folder = RunFolder(Path(config.runtime.out))
    classes = _class_names(folder, root)
    arrays = _read_arrays(folder.model, root)
    with torch.random.fork_rng(devices=[]):
        network = build_model(config.model.name, num_classes=len(classes))
    try:
        load_arrays(network, arrays)
    except ConfigError as misfit:
        reason = str(misfit).partition(";")[0]
        raise CheckpointError(f"{root}/{folder.model.name}: {reason}; put back what the run wrote") from None
    return TrainedModel(
        folder=folder,
        config=config,
        spec=spec_of(config.model),
        classes=classes,
        network=network.to(device).eval().requires_grad_(False),
        device=device,
        digest=digest(arrays),
    )


class _Classes(Record):
    """What evaluation.json says of the classes."""

    classes: tuple[str, ...] = Field(min_length=2)


def _class_names(folder: RunFolder, root: Path) -> tuple[str, ...]:
    record = read_optional(folder.evaluation, _Classes)
    if record is None:
        raise CheckpointError(
            f"{root} holds no {folder.evaluation.name}, which names the classes: finish a round first, or "
            "put it back"
        )
    return record.classes


def _read_arrays(path: Path, root: Path) -> Arrays:
    shown = f"{root}/{path.name}"
    try:
        arrays = from_bytes(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{shown} is missing: finish a round first, or put it back") from None
    except SafetensorError:
        raise CheckpointError(f"{shown} is not a safetensors file: put back what the run wrote") from None
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise CheckpointError(
            f"{shown} holds weights that are not finite: the training diverged, train with a smaller rate"
        )
    return arrays
