"""The network of pfl's CIFAR-10 benchmark: 1,626,442 parameters. Needs torch alone."""

from __future__ import annotations

from torch import nn


def simple_cnn(num_classes: int) -> nn.Module:
    """Build the network: [batch, 3, 32, 32] to [batch, num_classes]."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * 14 * 14, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, num_classes),
    )
