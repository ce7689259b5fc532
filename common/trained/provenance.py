"""What an exported file says of itself: where it comes from, what it takes and gives, its privacy."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from common.audit.auditor import inspect_run
from common.audit.report import verdict
from common.data.transforms import MEAN, STD
from common.errors import FedLedgerError
from common.run_folder import RunFolder
from common.trained.formats import INPUT, OUTPUT
from common.trained.loading import TrainedModel

SCHEMA = "fedledger-export/1"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the audit of a run says at export.

    Args:
        verdict: in one sentence.
        verified: whether the audit found nothing wrong.
        epsilon: what no client's ledger goes beyond; None unless the audit verified that there is protection.
        delta: that belongs to it, or None.
    """

    verdict: str
    verified: bool
    epsilon: float | None
    delta: float | None


def standing_of(folder: RunFolder) -> Standing:
    """Audit a run without writing into its folder; what cannot be audited carries no epsilon."""
    try:
        report = inspect_run(folder.root)
    except FedLedgerError as error:
        return Standing(verdict=f"NOT verified: {error}", verified=False, epsilon=None, delta=None)
    sure = report.verified and report.private and not report.stamp and math.isfinite(report.guarantee)
    return Standing(
        verdict=verdict(report),
        verified=report.verified,
        epsilon=report.guarantee if sure else None,
        delta=report.delta if sure else None,
    )


def describe(trained: TrainedModel, standing: Standing) -> dict[str, Any]:
    """Return what every file of a run says, whatever its format."""
    size = trained.spec.image_size
    front = trained.spec.front
    scaled = f"(pixel / 255 - {MEAN}) / {STD}" if front is None else f"frozen front {front.version}"
    return {
        "schema": SCHEMA,
        "run": trained.folder.root.name,
        "model": trained.spec.name,
        "model_sha256": trained.digest,
        "classes": list(trained.classes),
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": ["batch", 3, size, size],
            "layout": "RGB planes, pixels from 0 to 255 as in the file",
            "resizing": f"bilinear to {size} x {size}, before the model",
            "normalisation": f"inside the model: {scaled}",
        },
        "output": {
            "name": OUTPUT,
            "dtype": "float32",
            "shape": ["batch", len(trained.classes)],
            "meaning": "scores (logits) in the order of the classes; softmax gives probabilities",
        },
        "privacy": asdict(standing),
    }
