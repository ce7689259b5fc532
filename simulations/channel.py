"""What passes between a process and its copies: what is large travels beside the rest, and only once."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

_LARGE = 2**16
"""Bytes from which on a byte string travels for itself."""


class Channel:
    """One end of a pipe between processes that trust each other.

    Byte strings that are large are neither pickled nor copied on the way. Those of the last message that had
    any are kept at both ends: a model that goes to many clients, one after another, is sent once.

    Args:
        pipe: the end; its other one is a channel's too.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sent: list[bytes] = []
        self._received: list[bytes] = []
        self._is_in_midst = False

    def send(self, value: object) -> None:
        """Send a value.

        Raises:
            OSError: when the other end is closed, or a message before was cut off.
        """
        buffer = io.BytesIO()
        pickler = _Pickler(buffer)
        pickler.dump(value)
        known = {id(part): place for place, part in enumerate(self._sent)}
        places = [known.get(id(part)) for part in pickler.large]
        with self._whole():
            self._pipe.send((buffer.getvalue(), places))
            for part, place in zip(pickler.large, places, strict=True):
                if place is None:
                    self._pipe.send_bytes(part)
        self._sent = pickler.large or self._sent

    def receive(self) -> Any:
        """Wait for a value.

        Raises:
            EOFError: when the other end is closed.
            OSError: when a message before was cut off.
        """
        with self._whole():
            pickled, places = self._pipe.recv()
            large = [self._pipe.recv_bytes() if place is None else self._received[place] for place in places]
        self._received = large or self._received
        return _Unpickler(io.BytesIO(pickled), large).load()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Refuse to go on where a message was cut off: the rest of it would be taken for the next one."""
        if self._is_in_midst:
            raise OSError("a message was cut off")
        self._is_in_midst = True
        yield
        self._is_in_midst = False

    def close(self) -> None:
        """Close this end."""
        self._pipe.close()


class _Pickler(pickle.Pickler):
    """Puts the place of a large byte string in `large` where the string itself would stand."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self.large: list[bytes] = []

    def persistent_id(self, value: object) -> int | None:
        if type(value) is not bytes or len(value) < _LARGE:
            return None
        self.large.append(value)
        return len(self.large) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, large: list[bytes]) -> None:
        super().__init__(buffer)
        self._large = large

    def persistent_load(self, place: int) -> bytes:
        return self._large[place]
