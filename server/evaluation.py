"""Central evaluation on public test images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix
from sklearn.metrics import precision_recall_fscore_support as per_class_scores

from common.arrays import Arrays
from common.data import BatchTransform, ImageData
from common.models import build_loss, build_model, load_arrays

_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a model does; `details` is what evaluation.json holds."""

    metrics: dict[str, float]
    details: dict[str, Any]


class Evaluator:
    """Measures models on the same test images, with a network that is built once."""

    def __init__(self, test: ImageData, *, model: str, loss: str, device: torch.device) -> None:
        self._test = test
        self._network = build_model(model, num_classes=len(test.classes)).to(device).eval()
        self._loss = build_loss(loss)
        self._transform = BatchTransform(augmentation="none", device=device)
        self._device = device

    @property
    def num_classes(self) -> int:
        """How many classes the test images have."""
        return len(self._test.classes)

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

    @torch.inference_mode()
    def _predict(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        predictions, losses = [], []
        for start in range(0, len(self._test), _BATCH):
            images = self._transform(self._test.images[start : start + _BATCH], None)
            outputs = self._network(images)
            loss = self._loss(outputs, self._test.labels[start : start + _BATCH].to(self._device))
            predictions.append(outputs.argmax(dim=1).cpu().numpy())
            losses.append(loss.double().cpu().numpy())
        return np.concatenate(predictions), np.concatenate(losses)

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
