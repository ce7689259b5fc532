"""Backbones with random weights, in files: for tests, which download nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torchvision.models import get_model

SMALL = "squeezenet1_1"
"""The quickest of torchvision's networks at 32 pixels."""


def random_network(name: str = SMALL, *, seed: int = 0, num_classes: int = 1000) -> nn.Module:
    """Build a network; its norms hold the statistics of one batch, so that features tell images apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = get_model(name, weights=None, num_classes=num_classes)
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        if norms:
            network.train()(torch.randn(8, 3, 64, 64))
    return network


def write_weights(path: Path, name: str = SMALL, *, seed: int = 0, num_classes: int = 1000) -> Path:
    """Write a random network's state dict."""
    torch.save(random_network(name, seed=seed, num_classes=num_classes).state_dict(), path)
    return path
