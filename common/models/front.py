"""Frozen fronts: fixed functions of an image, computed once; a private head is trained on their outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FrontFunction = Callable[[Tensor], Tensor]
"""uint8 [batch, 3, height, width] to float32 [batch, *output_shape], on the device that it was built for."""


@dataclass(frozen=True, kw_only=True)
class Front:
    """A frozen function of single images.

    Args:
        version: names the function and every constant in it; another function has another version.
        output_shape: of one image's features.
        build: makes the function for a device; threads may share it.
        module: makes the same function, to 1e-4, of operations that gradients pass and that can be exported:
            float32 pixels [batch, 3, height, width] from 0 to 255 to features. None where there is none.

    Privacy:
        It depends on no private data and treats each image alone, so that a record's features are that
        record's: neighbouring data sets stay neighbours, and nothing is to be charged for it.
    """

    version: str
    output_shape: tuple[int, ...]
    build: Callable[[torch.device], FrontFunction]
    module: Callable[[], nn.Module] | None = None
