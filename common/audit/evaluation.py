"""What a run's folder says of its last model, and of who held which labels."""

from __future__ import annotations

from pydantic import Field

from common.audit.reading import Record


class ClassResult(Record):
    """Test results of one class."""

    name: str = Field(alias="class")
    precision: float
    recall: float
    f1: float
    support: int


class CalibrationBin(Record):
    """Test images whose answers had a probability above `low` and at most `high`."""

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


class Calibration(Record):
    """How far probabilities of answers are from how often they are right; `error` averages over images."""

    error: float
    confidence: float
    bins: tuple[CalibrationBin, ...]


class Evaluation(Record):
    """evaluation.json: the final model on public test images.

    `confusion[i][j]` counts images of class i that the model takes for class j.
    """

    round: int
    num_examples: int
    accuracy: float
    balanced_accuracy: float
    precision: float
    recall: float
    f1: float
    classes: tuple[str, ...]
    per_class: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: Calibration | None = None


class Partitions(Record):
    """partitions.json: which labels each client holds; only a simulator can know."""

    dataset: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
