"""Whole federations in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulations.harness import Simulation, resume, simulate

__all__ = ["Simulation", "resume", "simulate"]


def __getattr__(name: str) -> Any:
    """Load the harness when it is used: it brings torch and flwr, which --help does not need."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from simulations import harness

    return getattr(harness, name)
