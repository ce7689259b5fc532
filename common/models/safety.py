"""Layers for which per-record gradients would not bound what a record reveals."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from common.errors import ConfigError


def refuse_unsafe_layers(model: nn.Module) -> None:
    """Refuse layers that mix the records of a batch or keep statistics of them.

    Raises:
        ConfigError: naming the first such layer and what to put in its place.

    Privacy:
        A buffer is sent with the model but is no gradient: nothing clips it, noises it or charges for it.
    """
    for name, module in model.named_modules():
        layer = f"layer {name!r} ({type(module).__name__})"
        if isinstance(module, _BatchNorm):
            raise ConfigError(f"{layer} mixes the records of a batch: replace it with torch.nn.GroupNorm")
        if isinstance(module, _NormBase) and module.track_running_stats:
            raise ConfigError(
                f"{layer} keeps running statistics of records: replace it with torch.nn.GroupNorm"
            )
        buffers = [buffer for buffer, _ in module.named_buffers(recurse=False)]
        if buffers:
            raise ConfigError(
                f"{layer} keeps the buffer {buffers[0]!r}, which no noise covers: use a layer without "
                "buffers, such as torch.nn.GroupNorm"
            )
