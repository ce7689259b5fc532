"""Downloads that give up on a silent network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from socket import getdefaulttimeout, setdefaulttimeout

_TIMEOUT_SECONDS = 30.0


@contextmanager
def impatient() -> Iterator[None]:
    """Give up on a connection that says nothing for half a minute: torchvision itself would wait for ever."""
    before = getdefaulttimeout()
    setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        setdefaulttimeout(before)
