"""A gateway that listens on loopback, before a made-up SuperLink, for tests that speak to it from outside."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from server.deployment.admission import Admission
from server.deployment.connections import GatewayLoop, Listener
from server.deployment.front import Front
from server.deployment.gateway import Gateway, Upstream
from server.deployment.limits import Limits
from server.deployment.metrics import Metrics
from server.deployment.pki import make_server_certificate
from server.deployment.tls import TlsFiles, server_context


class NodeKey:
    """A node's key, which signs as Flower's SuperNode does."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP384R1())
        self.public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def openssh(self, comment: str) -> bytes:
        """Return the public key as `pki client` writes it."""
        form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return self._key.public_key().public_bytes(*form) + f" {comment}\n".encode()

    def headers(self, *, age: float = 0.0) -> dict[str, str]:
        """Return the headers of a request that was signed `age` seconds ago."""
        timestamp = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
        signature = self._key.sign(timestamp.encode(), ec.ECDSA(hashes.SHA256()))
        return {
            "content-type": "application/protobuf",
            "flwr-public-key": base64.b64encode(self.public).decode(),
            "flwr-timestamp": timestamp,
            "flwr-signature": base64.b64encode(signature).decode(),
        }


@dataclass
class MadeUpSuperLink:
    """Answers what the gateway passes on, and remembers it.

    Args:
        answer: from a request and its body to a response.
    """

    answer: Callable[[httpx.Request, bytes], httpx.Response] = lambda _request, body: httpx.Response(
        200, content=body[::-1], headers={"content-type": "application/protobuf"}
    )
    seen: list[tuple[str, str, dict[str, str], int]] = field(default_factory=list)
    broken: bool = False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Read the body piece by piece and answer."""
        if self.broken:
            raise httpx.ConnectError("refused", request=request)
        body = await request.aread()
        self.seen.append((request.method, request.url.raw_path.decode(), dict(request.headers), len(body)))
        return self.answer(request, body)


@dataclass
class LiveGateway:
    """Where a gateway listens, and what it counts.

    Args:
        port: on 127.0.0.1.
        authority: the CA of its certificate; None when it speaks plain HTTP.
    """

    port: int
    authority: Path | None
    superlink: MadeUpSuperLink
    metrics: Metrics
    admitted: dict[bytes, str]
    revoked: dict[bytes, str]

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.Client:
        """Return a client that holds the CA."""
        verify = ssl.create_default_context(cafile=str(self.authority)) if self.authority else False
        options = {"verify": verify, "trust_env": False, "timeout": 10.0, **options}
        return httpx.Client(base_url=self.url, **options)

    def connect(self) -> socket.socket:
        """Open a connection and agree on TLS."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        if self.authority is None:
            return plain
        context = ssl.create_default_context(cafile=str(self.authority))
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def say(self, data: bytes) -> bytes:
        """Send bytes over a new connection and return all that comes back until it is closed."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Return everything until the other side closes."""
    pieces = []
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def request(path: str, headers: Mapping[str, str], *, method: str = "POST", body: bytes = b"") -> bytes:
    """Return an HTTP/1.1 request as bytes, closing afterwards."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.contextmanager
def live_gateway(
    folder: Path, *, limits: Limits | None = None, tls: bool = True, files: TlsFiles | None = None
) -> Iterator[LiveGateway]:
    """Run a gateway in a thread of its own."""
    limits, metrics, superlink = limits or Limits(), Metrics(superlink_up=1), MadeUpSuperLink()
    if tls and files is None:
        if not (folder / "pki" / "server.crt").exists():
            make_server_certificate(folder / "pki", ["127.0.0.1", "localhost"])
        files = TlsFiles.of_folder(folder / "pki")
    listener = Listener.open("127.0.0.1", 0, limits=limits, metrics=metrics, tls=tls)
    live = LiveGateway(
        port=listener.getsockname()[1],
        authority=files.authority if files else None,
        superlink=superlink,
        metrics=metrics,
        admitted={},
        revoked={},
    )
    ready, thread_failed = threading.Event(), []
    stopping: list[Callable[[], None]] = []

    async def serve() -> None:
        transport = _Streaming(superlink)
        async with httpx.AsyncClient(transport=transport, base_url="http://superlink") as client:
            gateway = Gateway(
                upstream=Upstream(client=client, is_up=lambda: bool(metrics.superlink_up)),
                admission=Admission(lambda: live.admitted, limits, revoked=lambda: live.revoked),
                limits=limits,
                metrics=metrics,
            )
            front = Front.over(gateway, listener, server_context(files) if files else None)
            stopping.append(lambda: setattr(front, "should_exit", True))
            serving = asyncio.create_task(front.serve(sockets=[listener]))
            while not front.started:
                await asyncio.sleep(0.01)
            ready.set()
            await serving

    def run() -> None:
        loop = type("Loop", (GatewayLoop,), {"handshake_seconds": limits.head_seconds})
        try:
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(serve())
        except BaseException as error:
            thread_failed.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(20)
    assert not thread_failed
    try:
        yield live
    finally:
        stopping[0]()
        thread.join(20)
        assert not thread.is_alive()


class _Streaming(httpx.AsyncBaseTransport):
    """Hands requests to the made-up SuperLink without reading their bodies first."""

    def __init__(self, superlink: MadeUpSuperLink) -> None:
        self._superlink = superlink

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._superlink(request)
        if not answer.is_stream_consumed:
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=pieces(answer.content))


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield parts as an answer that comes bit by bit."""
    for part in parts:
        yield part


class Heard(logging.Handler):
    """Keeps the lines of `fedledger.*`."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.lines.append(record.getMessage())


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what the gateway logs."""
    handler, logger = Heard(), logging.getLogger("fedledger")
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


def detail(answer: bytes) -> str:
    """Return the one line of a refusal."""
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["detail"])
