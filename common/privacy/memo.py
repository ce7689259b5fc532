"""A cache whose concurrent callers wait for one computation instead of repeating it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class OncePerKey(Generic[K, V]):
    """Compute a value at most once for each key, whichever threads ask and whenever they do.

    `functools.lru_cache` lets every thread that misses compute; with a thousand clients in one process
    that is a thousand times the same second. An error is raised to its caller and not kept.

    Args:
        compute: the function to remember; it must depend on its key alone.
        capacity: number of values kept; beyond it the oldest goes.
    """

    def __init__(self, compute: Callable[[K], V], *, capacity: int = 8192) -> None:
        self._compute = compute
        self._capacity = capacity
        self._lock = threading.Lock()
        self._values: dict[K, V] = {}
        self._gates: dict[K, threading.Lock] = {}

    def __call__(self, key: K) -> V:
        """Return the value of the key, computed now or earlier."""
        with self._lock:
            if key in self._values:
                return self._values[key]
            gate = self._gates.setdefault(key, threading.Lock())
        with gate:
            return self._compute_behind_gate(key)

    def clear(self) -> None:
        """Forget every value."""
        with self._lock:
            self._values.clear()

    def _compute_behind_gate(self, key: K) -> V:
        with self._lock:
            if key in self._values:
                return self._values[key]
        try:
            value = self._compute(key)
            with self._lock:
                self._values[key] = value
                if len(self._values) > self._capacity:
                    del self._values[next(iter(self._values))]
            return value
        finally:
            with self._lock:
                self._gates.pop(key, None)
