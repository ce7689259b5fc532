"""What becomes of memory that training gives back."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_BLOCK, _HEAP = 32 * 2**20, 2**30
"""Bytes: the largest block that is kept, and how much of what is free."""


def keep_freed_memory() -> None:
    """Have this process keep the memory that it frees, for what it allocates next.

    A step allocates and frees the same large tensors again and again. The C library would hand each of them
    back to the system, which has to clear its pages before it gives them out again: with a megabyte a layer,
    up to a tenth of a plain step. Where there is another C library than GNU's nothing changes.
    """
    with suppress(AttributeError, OSError, TypeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_MMAP_THRESHOLD, _BLOCK)
        set_option(_TRIM_THRESHOLD, _HEAP)
