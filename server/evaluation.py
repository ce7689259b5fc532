"""Central evaluation on public test images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.arrays import Arrays
from common.config import ModelSettings
from common.data import ImageData
from common.data.features import Preparation
from common.models import build_loss, build_model, load_arrays
from server.calibration import calibration
from server.scores import class_scores, confusion, mean_scores

_BATCH, _CPU_BATCH = 500, 64
"""Images answered at a time: many keep an accelerator busy, few stay in a core's cache."""


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """What a model says of test images: the class, its probability, and the loss, each [n]."""

    predictions: NDArray[np.int64]
    confidences: NDArray[np.float64]
    losses: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a model does; `details` is what evaluation.json holds."""

    metrics: dict[str, float]
    details: dict[str, Any]


class Evaluator:
    """Measures models on the same test images, with a network that is built once."""

    def __init__(
        self,
        test: ImageData,
        *,
        model: ModelSettings,
        loss: str,
        device: torch.device,
        workers: int = 1,
        feature_cache: str = "",
    ) -> None:
        preparation = Preparation(
            model=model, augmentation="none", device=device, workers=workers, cache=feature_cache
        )
        self._workers = workers
        self._test = preparation.records(test)
        network = build_model(model.name, num_classes=len(test.classes)).eval()
        self._network = network.to(device).to(memory_format=torch.channels_last)  # quicker
        self._loss = build_loss(loss)
        self._transform = preparation.transform()
        self._device = device
        self._batch = _CPU_BATCH if device.type == "cpu" else _BATCH

    @property
    def classes(self) -> tuple[str, ...]:
        """The test images' classes, in label order."""
        return self._test.classes

    def evaluate(self, arrays: Arrays) -> Evaluation:
        """Return loss, accuracy, balanced accuracy and macro precision, recall and F1 (all in [0, 1])."""
        load_arrays(self._network, arrays)
        answers, labels = self._answers(), self._test.labels.numpy()
        counts = confusion(labels, answers.predictions, len(self.classes))
        metrics = mean_scores(counts) | {"loss": float(answers.losses.mean())}
        trust = {"calibration": calibration(answers.confidences, answers.predictions == labels)}
        return Evaluation(metrics=metrics, details=metrics | self._details(counts) | trust)

    def _answers(self) -> _Answers:
        """Answer all test images; batches run side by side and are joined in order."""
        with ThreadPoolExecutor(max_workers=self._workers) as pool:
            batches = list(pool.map(self._answer_batch, range(0, len(self._test), self._batch)))
        return _Answers(
            predictions=np.concatenate([batch.predictions for batch in batches]),
            confidences=np.concatenate([batch.confidences for batch in batches]),
            losses=np.concatenate([batch.losses for batch in batches]),
        )

    @torch.inference_mode()
    def _answer_batch(self, start: int) -> _Answers:
        images = self._transform(self._test.inputs[start : start + self._batch], None)
        labels = self._test.labels[start : start + self._batch].to(self._device)
        outputs = self._network(images)
        losses, outputs = self._loss(outputs, labels).cpu(), outputs.cpu()  # not every device has float64
        return _Answers(
            predictions=outputs.argmax(dim=1).numpy(),
            confidences=outputs.double().softmax(dim=1).amax(dim=1).numpy(),
            losses=losses.double().numpy(),
        )

    def _details(self, counts: NDArray[np.int64]) -> dict[str, Any]:
        scores = class_scores(counts)
        rows = [
            {
                "class": name,
                "precision": float(scores.precision[i]),
                "recall": float(scores.recall[i]),
                "f1": float(scores.f1[i]),
                "support": int(scores.support[i]),
            }
            for i, name in enumerate(self.classes)
        ]
        return {
            "num_examples": len(self._test),
            "classes": list(self.classes),
            "per_class": rows,
            "confusion": counts.tolist(),
        }
