"""Memory that training gives back stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
import torch
from client.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
else:
    ctypes.CDLL(None).mallopt(-3, 2**17)  # glibc's own limit, which would else grow by itself
def steps(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        [torch.ones(2**20) for _ in range(16)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
steps(3)
print(steps(20))
"""


def faults(way: str) -> int:
    run = [sys.executable, "-c", PROGRAM, way]
    return int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_was_freed_is_used_again() -> None:
    assert faults("kept") < faults("freed") / 10
