"""Features of a frozen front in place of images: computed once, kept, on the device that trains.

They are kept as float16: features of a common scale lose one part in two thousand, far less than the noise
of one step, and half the memory holds them. Any number of threads cuts a data set into the same batches, and
so computes the same bits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from common.config import ModelSettings
from common.data.feature_cache import FeatureCache
from common.data.images import Images, Records
from common.data.transforms import BatchTransform, draw_choices
from common.errors import ConfigError
from common.models import spec_of
from common.models.front import Front, FrontFunction

WITH_FRONT: tuple[str, ...] = ("none", "flip")
"""Augmentations that a front's features can have."""

Transform = Callable[[Tensor, torch.Generator | None], Tensor]
"""(inputs of a batch, what decides its augmentation) -> network inputs, float32."""

_BATCH = 64
_KEPT_AS = torch.float16
_LARGEST = torch.finfo(_KEPT_AS).max
_log = logging.getLogger("fedledger.features")


@dataclass(frozen=True, kw_only=True)
class FeatureData:
    """Records by their features.

    Args:
        inputs: float16 [n, views, *shape]: of the image, and where there are two views of its mirror image.
        labels: int64 [n], on the CPU.
        classes: the classes' names, in label order.
    """

    inputs: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, numbers: Tensor) -> Tensor:
        """Copy the features of the records with these numbers."""
        return self.inputs[numbers]


@dataclass(frozen=True, kw_only=True)
class FeatureTransform:
    """Turn kept features into a head's input, on their device."""

    def __call__(self, inputs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Choose a view of each record.

        Args:
            inputs: float16 [batch, views, *shape]; the batch may be empty.
            generator: decides; without one every record is seen as it is, as in evaluation.

        Returns:
            float32 [batch, *shape].
        """
        batch, views = inputs.shape[:2]
        if generator is None or views == 1:
            return inputs[:, 0].float()
        (chosen,) = draw_choices((views,), batch, generator, inputs.device)
        return inputs[torch.arange(batch, device=inputs.device), chosen.squeeze(1)].float()


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What becomes of images before a model sees them.

    Args:
        model: which it is.
        augmentation: of training; `none` for evaluation.
        device: where the model runs.
        workers: threads that compute features.
        cache: folder in which features are kept between runs; empty for none.

    Raises:
        ConfigError: when the model is unknown, or cannot have the augmentation.
    """

    model: ModelSettings
    augmentation: str
    device: torch.device
    workers: int = 1
    cache: str = ""

    def __post_init__(self) -> None:
        if self._front is not None and self.augmentation not in WITH_FRONT:
            raise ConfigError(
                f"data.augmentation = {self.augmentation!r} does not go with model {self.model.name!r}, "
                "whose features are computed once: "
                f"--set data.augmentation={' or '.join(reversed(WITH_FRONT))}"
            )

    @property
    def _front(self) -> Front | None:
        return spec_of(self.model).front

    @property
    def _views(self) -> int:
        return 2 if self.augmentation == "flip" else 1

    def transform(self) -> Transform:
        """Return what turns a batch of `records`' inputs into network inputs."""
        if self._front is None:
            return BatchTransform(augmentation=self.augmentation, device=self.device)
        return FeatureTransform()

    def records(self, data: Images) -> Records:
        """Return the records as the model takes them: the images, or their features if it has a front.

        Privacy: features are as private as the images and stay where those are.
        """
        front = self._front
        if front is None:
            return data
        inputs = self._features(data.images, front).to(self.device)
        return FeatureData(inputs=inputs, labels=data.labels, classes=data.classes)

    def _features(self, images: Tensor, front: Front) -> Tensor:
        """Read features where they are kept, and compute and keep them elsewhere."""
        compute = partial(compute_features, images, front, device=self.device, workers=self.workers)
        if not self.cache:
            return compute(views=self._views)
        shape = (len(images), self._views, *front.output_shape)
        cache = FeatureCache.of(Path(self.cache).expanduser(), front.version, images, shape)
        features = cache.load()
        if features is None:
            features = compute(views=self._views)
            cache.store(features)
        return features


def compute_features(
    images: Tensor, front: Front, *, device: torch.device, views: int = 1, workers: int = 1
) -> Tensor:
    """Compute the features of images, and tell the log `fedledger.features` how far it is.

    Args:
        images: uint8 [n, 3, height, width].
        front: the frozen function.
        device: where it runs and its features stay.
        views: 1 for the image alone, 2 for its mirror image as well.
        workers: threads, on a CPU.

    Returns:
        float16 [n, views, *front.output_shape].
    """
    features = torch.empty((len(images), views, *front.output_shape), dtype=_KEPT_AS, device=device)
    _log.info("computing the features of %d images once (%s)", len(images), front.version)
    compute = partial(_compute_batch, front.build(device), images, features)
    with ThreadPoolExecutor(workers if device.type == "cpu" else 1) as pool:
        for done in pool.map(compute, range(0, len(images), _BATCH)):
            _log.debug("features", extra={"images": done})
    return features


@torch.inference_mode()
def _compute_batch(front: FrontFunction, images: Tensor, features: Tensor, start: int) -> int:
    """Write one batch's features in their place, and return how many images it had."""
    batch = images[start : start + _BATCH].to(features.device)
    for view in range(features.shape[1]):
        seen = batch.flip(-1) if view else batch
        features[start : start + _BATCH, view] = front(seen).clamp_(-_LARGEST, _LARGEST)
    return len(batch)
