"""Connections before HTTP: how many may be open, how long a peer may keep silent, and who speaks no TLS."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from server.deployment.limits import LOG_LINES, Allowance, Limits
from server.deployment.metrics import Metrics

_log = logging.getLogger("fedledger.gateway")

_NOT_TLS_BODY = (
    b'{"code": 2004, "detail": "this server speaks TLS: connect with https and the CA that you were given"}'
)
_NOT_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_NOT_TLS_BODY), _NOT_TLS_BODY)
)
_TLS_HANDSHAKE, _TLS_ALERT = 0x16, 0x15


class Connection(socket.socket):
    """One accepted connection, which says when it is closed and looks at its first byte."""

    peer: str = "unknown"
    address: tuple[str, int] = ("unknown", 0)
    when_closed: Callable[[Connection], None] | None = None
    speaks_tls: bool = False
    first_byte: int | None = None
    agreed: bool = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive; answer in plain words, once, what is plain HTTP on a TLS port."""
        data = super().recv(size, flags)
        self._look_at(data[:1])
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0, /) -> int:
        """Receive into a buffer, as `recv` does."""
        count = super().recv_into(buffer, size, flags)
        self._look_at(bytes(memoryview(buffer)[: min(1, count)]))
        return count

    def _look_at(self, first: bytes) -> None:
        if self.first_byte is not None or not first:
            return
        self.first_byte = first[0]
        if self.speaks_tls and first.isupper():
            with suppress(OSError):
                super().send(_NOT_TLS, socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Close, and say so the first time."""
        tell, self.when_closed = self.when_closed, None
        super().close()
        if tell is not None:
            tell(self)


class Listener(socket.socket):
    """A listening socket that refuses connections beyond a number, in all and of one address.

    It counts from the accept on, so connections that never begin TLS count as well.
    """

    @classmethod
    def open(cls, host: str, port: int, *, limits: Limits, metrics: Metrics, tls: bool) -> Listener:
        """Bind and listen.

        Raises:
            OSError: when the address cannot be had.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = cls(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.setblocking(False)
        listener._prepare(limits, metrics, tls)
        return listener

    def _prepare(self, limits: Limits, metrics: Metrics, tls: bool) -> None:
        self.limits = limits
        self.metrics = metrics
        self._tls = tls
        self._lines = Allowance(*LOG_LINES)
        self._open: Counter[str] = Counter()
        self._connections: dict[tuple[str, int], Connection] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next connection that is within the limits; close those that are not.

        Raises:
            BlockingIOError: when none waits.
        """
        while True:
            accepted, address = super().accept()
            connection = Connection(self.family, self.type, self.proto, fileno=accepted.detach())
            connection.peer = str(address[0])
            if self._full(connection.peer):
                self.metrics.connections_refused += 1
                connection.close()
                continue
            connection.speaks_tls = self._tls
            connection.when_closed = self._forget
            connection.address = address[:2]
            self._connections[connection.address] = connection
            self._open[connection.peer] += 1
            self.metrics.connections = self._open.total()
            return connection, address

    def agreed(self, address: tuple[str, int] | None) -> None:
        """Note that TLS (or nothing, without it) was agreed with an address and port."""
        if address in self._connections:
            self._connections[address].agreed = True

    def _full(self, peer: str) -> bool:
        beyond = self._open.total() >= self.limits.connections
        return beyond or self._open[peer] >= self.limits.connections_of_one_address

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection.address, None)
        self._open[connection.peer] -= 1
        if not self._open[connection.peer]:
            del self._open[connection.peer]
        self.metrics.connections = self._open.total()
        if self._tls and not connection.agreed:
            self.metrics.handshakes_failed += 1
            if self._lines.take(connection.peer):
                fields = {"peer": connection.peer}
                why = _why(connection.first_byte)
                _log.warning("no TLS with %s: %s", connection.peer, why, extra={"fields": fields})


def _why(first_byte: int | None) -> str:
    if first_byte is None:
        return "it sent nothing"
    if first_byte in (_TLS_HANDSHAKE, _TLS_ALERT):
        return (
            "the two found no agreement (does it hold this server's CA, and does the certificate still hold, "
            "for the name that it calls?)"
        )
    return "it speaks plain HTTP, or no TLS at all"


class GatewayLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, with a limit to how long a handshake and a farewell may take."""

    handshake_seconds: float = 10.0

    async def create_server(self, *arguments: Any, **options: Any) -> asyncio.Server:
        """Create a server; of TLS, with time limits."""
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", self.handshake_seconds)
            options.setdefault("ssl_shutdown_timeout", self.handshake_seconds)
        return await super().create_server(*arguments, **options)


class GatewayProtocol(H11Protocol):
    """uvicorn's HTTP protocol; closes a connection on which a request's head has begun and does not end."""

    limits: Limits
    listener: Listener
    _head_timer: asyncio.TimerHandle | None = None

    @classmethod
    def bound(cls, limits: Limits, listener: Listener) -> type[GatewayProtocol]:
        """Return the class for the connections of one listener."""
        return type("BoundGatewayProtocol", (cls,), {"limits": limits, "listener": listener})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; from here on TLS is agreed."""
        super().connection_made(transport)
        self.listener.agreed(self.client)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read; the clock runs while a head is incomplete."""
        super().data_received(data)
        if self._is_busy:
            self._stop_timer()
        elif self._head_timer is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        super().connection_lost(exc)

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self._is_busy:
            self.transport.abort()
