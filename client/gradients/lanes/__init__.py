"""Layers computed with sixteen records side by side, where the compiled kernels are at hand."""

from client.gradients.lanes.part import LanedPart

__all__ = ["LanedPart"]
