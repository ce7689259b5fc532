"""Counts of what the server's processes do, in Prometheus's text format, for loopback alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

_TYPES = {
    "connections": ("gauge", "Open connections."),
    "connections_refused": ("counter", "Connections beyond the limits."),
    "handshakes_failed": ("counter", "Connections that ended before TLS was agreed."),
    "bytes_received": ("counter", "Bytes of request bodies taken from clients."),
    "bytes_sent": ("counter", "Bytes of response bodies given to clients."),
    "superlink_up": ("gauge", "1 while SuperLink answers."),
    "superlink_starts": ("counter", "Times that SuperLink was started."),
    "nodes_enrolled": ("gauge", "Keys that may connect."),
    "nodes_online": ("gauge", "Enrolled nodes that were heard in time."),
}


@dataclass(kw_only=True)
class Metrics:
    """What has been counted since the server began; names are those of the exposition, without prefix."""

    connections: int = 0
    connections_refused: int = 0
    handshakes_failed: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    superlink_up: int = 0
    superlink_starts: int = 0
    nodes_enrolled: int = 0
    nodes_online: int = 0
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)

    def text(self) -> str:
        """Return all of it in Prometheus's text format."""
        lines = []
        for name, (kind, meaning) in _TYPES.items():
            full = f"fedledger_{name}" + ("_total" if kind == "counter" else "")
            lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}", f"{full} {getattr(self, name)}"]
        lines += ["# HELP fedledger_requests_total Requests by route and status."]
        lines += ["# TYPE fedledger_requests_total counter"]
        for (route, status), count in sorted(self.requests.items()):
            lines.append(f'fedledger_requests_total{{route="{route}",status="{status}"}} {count}')
        return "\n".join(lines) + "\n"


async def serve_metrics(
    metrics: Metrics, refresh: Callable[[], Awaitable[None]], port: int
) -> tuple[asyncio.Server, int]:
    """Answer `GET /metrics` on loopback.

    Args:
        refresh: awaited before each answer.
        port: 0 takes a free one.

    Returns:
        The server, and its port.

    Raises:
        OSError: when the port is taken.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _response(head.split(b"\r\n")[0]))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _response(line: bytes) -> bytes:
        if not line.startswith(b"GET /metrics HTTP/"):
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        await refresh()
        body = metrics.text().encode()
        kind = b"text/plain; version=0.0.4; charset=utf-8"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        return head % (kind, len(body)) + body

    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=8192)
    return server, server.sockets[0].getsockname()[1]
