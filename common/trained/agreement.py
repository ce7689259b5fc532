"""Whether a file computes what the module that it was made of does."""

from __future__ import annotations

import copy
import logging

import torch
from torch import Tensor

from common.errors import ExportFailed
from common.trained.measuring import difference
from common.trained.whole import WholeModel

TOLERANCE = 1e-4
"""By how much a file's scores may differ from those of the torch module that it was made of."""

_AT_A_TIME = 32
_log = logging.getLogger("fedledger.export")


def require_equal(what: str, scores: Tensor, module: WholeModel, images: Tensor, expected: Tensor) -> None:
    """Refuse scores that are not a module's.

    Two float32 computations of one network cannot agree better than float32 holds it. Where they differ by
    more than the tolerance, the module is computed in float64 too: both may then be as far apart as twice
    what torch's own float32 scores are from those, which is said in the log. That is never assumed.

    Args:
        what: has the scores.
        scores: float32 [n, classes].
        module: what they are of.
        images: uint8 [n, 3, height, width].
        expected: the module's own scores.

    Raises:
        ExportFailed: when they differ by more.
    """
    largest = difference(scores, expected)
    if largest <= TOLERANCE:
        return
    rounding = difference(expected.double(), exact_scores(module, images))
    permitted = max(TOLERANCE, 2 * rounding)
    if not largest <= permitted:
        raise ExportFailed(
            f"{what} differs from the model by {largest:.3g}, permitted is {permitted:.3g}: leave out its "
            "format, and report versions of torch and onnxruntime"
        )
    _log.warning(
        "%s differs from torch by %.3g, above %g: float32 itself is %.3g off what float64 gives",
        what,
        largest,
        TOLERANCE,
        rounding,
    )


@torch.inference_mode()
def exact_scores(module: WholeModel, images: Tensor) -> Tensor:
    """Compute a module's scores in float64, [n, classes]."""
    exact = copy.deepcopy(module).double()
    parts = [exact.network(exact.prepare(batch.double())) for batch in torch.split(images, _AT_A_TIME)]
    return torch.cat(parts)
