"""Blocks of records on several cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from itertools import pairwise

import torch

from client.threads import Threads

_LITTLE = 2**21
"""Operations that another thread would need longer to begin with than to do."""

_threads = Threads("kernels", most=os.cpu_count())
_permitted: int | None = None


@contextmanager
def cores_for_kernels() -> Iterator[None]:
    """Let kernels use the cores that PyTorch would use, and PyTorch one of them.

    PyTorch's threads wait for their next work at full speed, on the cores that a kernel could use meanwhile;
    and what it computes beside kernels is too little to be shared out.
    """
    global _permitted  # noqa: PLW0603 - as PyTorch's own number of threads, it is the process's
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    _permitted = threads
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _permitted = None


def threads_for_kernels() -> int:
    """Return how many threads kernels may use: as many as PyTorch."""
    return _permitted or torch.get_num_threads()


def by_blocks(task: Callable[[slice], None], blocks: int, *, operations: int) -> None:
    """Do something for all blocks, on as many threads as PyTorch may use where it is worth it.

    Args:
        task: what to do for some blocks that follow one another; results are the same however they are cut.
            It must not come here again: its threads would wait for each other.
        blocks: how many there are.
        operations: about how many numbers one block's work multiplies or reads.
    """
    if not blocks:
        return
    parts = min(threads_for_kernels(), blocks, 1 + blocks * operations // _LITTLE)
    bounds = [blocks * part // parts for part in range(parts + 1)]
    first, *others = [slice(begin, end) for begin, end in pairwise(bounds)]
    waiting = [_threads.submit(task, other) for other in others]
    try:
        task(first)
    finally:
        wait(waiting)  # nothing is written any more when this returns, or raises
    for each in waiting:
        each.result()
