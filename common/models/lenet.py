"""The small convolutional network of PyTorch's CIFAR-10 tutorial, after LeCun et al. 1998."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def build_lenet(num_classes: int) -> nn.Module:
    """Build the network: [batch, 3, 32, 32] to [batch, num_classes]; 62,006 parameters at ten classes."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 6, kernel_size=5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, kernel_size=5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16 * 5 * 5, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, num_classes),
        )
    )
