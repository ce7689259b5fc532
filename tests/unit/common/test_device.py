"""A device is one that is there, or an error."""

from __future__ import annotations

import pytest
import torch

from common.device import resolve_device
from common.errors import ConfigError


@pytest.fixture
def machine(monkeypatch):
    def has(*, cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


@pytest.mark.parametrize(
    ("there", "device"),
    [({}, "cpu"), ({"cuda": 1}, "cuda"), ({"mps": True}, "mps"), ({"cuda": 2, "mps": True}, "cuda")],
)
def test_auto_takes_the_first_accelerator(machine, there, device):
    machine(**there)
    assert resolve_device("auto") == torch.device(device)


@pytest.mark.parametrize("name", ["cpu", "cpu:0", "cuda", "cuda:0", "cuda:1", "mps"])
def test_a_device_that_is_there_is_taken(machine, name):
    machine(cuda=2, mps=True)
    assert resolve_device(name) == torch.device(name)


@pytest.mark.parametrize(
    "name",
    ["cuda", "cuda:0", "mps", "gpu", "", "cpu:1", "cuda:x", "cuda:-1", "cuda:", "CPU", "cpu:0:0", "cpu:²"],
)
def test_a_device_that_is_not_there_is_refused_and_not_replaced(machine, name):
    machine()
    with pytest.raises(ConfigError, match="this machine has cpu") as caught:
        resolve_device(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:", "mps"])
def test_what_is_there_is_named(machine, name):
    machine(cuda=2)
    with pytest.raises(ConfigError, match="this machine has cpu, cuda"):
        resolve_device(name)
