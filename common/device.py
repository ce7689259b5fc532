"""Which device computes."""

from __future__ import annotations

import torch

from common.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """Turn a setting into a device that is there.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        ConfigError: when the device is unknown or absent; never falls back silently.
    """
    if name == "auto":
        return torch.device(_first_there())
    kind, separator, index = name.partition(":")
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    number = index if separator else "0"
    if kind not in counts or not (number.isascii() and number.isdigit()) or int(number) >= counts[kind]:
        there = ", ".join(device for device, count in counts.items() if count)
        raise ConfigError(f"runtime.device = {name!r} is not there: this machine has {there} (or give auto)")
    return torch.device(name)


def _first_there() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
