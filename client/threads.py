"""Threads that outlive a call, in a process that may be forked."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")


class Threads:
    """A pool of threads, begun when there is work; a forked process, which has none of them, begins its own.

    Args:
        name: of the threads.
        most: threads at a time.
    """

    def __init__(self, name: str, most: int | None = None) -> None:
        self._name = name
        self._most = most
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def submit(self, task: Callable[..., _Result], *arguments: object) -> Future[_Result]:
        """Have something done on another thread."""
        return self._pool.submit(task, *arguments)

    def _begin(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=self._most, thread_name_prefix=self._name)
