"""Compiled kernels: what a step of training spends most of its time on."""

from client.kernels.library import at_hand, run

__all__ = ["at_hand", "run"]
