"""Central evaluation on public test images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix
from sklearn.metrics import precision_recall_fscore_support as per_class_scores

from common.arrays import Arrays
from common.config import ModelSettings
from common.data import ImageData
from common.data.features import Preparation
from common.models import build_loss, build_model, load_arrays

_BATCH = 250


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

    @property
    def classes(self) -> tuple[str, ...]:
        """The test images' classes, in label order."""
        return self._test.classes

    def evaluate(self, arrays: Arrays) -> Evaluation:
        """Return loss, accuracy, balanced accuracy and macro precision, recall and F1 (all in [0, 1])."""
        load_arrays(self._network, arrays)
        predictions, losses = self._predict()
        labels = self._test.labels.numpy()
        macro = per_class_scores(labels, predictions, average="macro", zero_division=0)
        metrics = {
            "accuracy": float(accuracy_score(labels, predictions)),
            "loss": float(losses.mean()),
            "balanced_accuracy": float(balanced_accuracy_score(labels, predictions)),
            "precision": float(macro[0]),
            "recall": float(macro[1]),
            "f1": float(macro[2]),
        }
        return Evaluation(metrics=metrics, details=metrics | self._details(labels, predictions))

    def _predict(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return predictions [n] and losses [n]; batches run side by side and are joined in order."""
        with ThreadPoolExecutor(max_workers=self._workers) as pool:
            batches = list(pool.map(self._predict_batch, range(0, len(self._test), _BATCH)))
        predictions, losses = zip(*batches, strict=True)
        return np.concatenate(predictions), np.concatenate(losses)

    @torch.inference_mode()
    def _predict_batch(self, start: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        images = self._transform(self._test.inputs[start : start + _BATCH], None)
        labels = self._test.labels[start : start + _BATCH].to(self._device)
        outputs = self._network(images)
        return outputs.argmax(dim=1).cpu().numpy(), self._loss(outputs, labels).double().cpu().numpy()

    def _details(self, labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> dict[str, Any]:
        classes = self._test.classes
        numbers = np.arange(len(classes))
        scores = per_class_scores(labels, predictions, labels=numbers, zero_division=0)
        names = ("precision", "recall", "f1", "support")
        rows = [
            {
                "class": classes[i],
                **{name: float(column[i]) for name, column in zip(names, scores, strict=True)},
            }
            for i in numbers
        ]
        return {
            "num_examples": len(self._test),
            "classes": list(classes),
            "per_class": rows,
            "confusion": confusion_matrix(labels, predictions, labels=numbers).tolist(),
        }
