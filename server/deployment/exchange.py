"""One request at the gateway and its answer: what of it is read, for how long, and what is passed back."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import httpx

from common.flower_internals.fleet import FLEET_PATHS, KEY_UNKNOWN
from server.deployment.admission import Denied
from server.deployment.limits import Allowance, Limits
from server.deployment.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("fedledger.gateway")

ROUTES = {path.encode(): path for path in FLEET_PATHS}
"""The targets that nodes use, byte for byte."""

MEDIA = "application/protobuf"
"""The form of Flower's bodies."""

_PASSED_ON = ("accept", "content-length", "content-type")
_PASSED_BACK = ("content-length", "content-type")
_OWN_PREFIX = "flwr-"
_LINGER_SECONDS = 2.0


class PeerGone(Exception):
    """The peer closed its connection; nobody is left to answer."""


class Exchange:
    """One request and its answer.

    Args:
        scope: of ASGI; `raw_path` is the target as it was sent.
        receive: of ASGI.
        send: of ASGI.
        limits: of bodies and times.
        metrics: where it counts.
        lines: how many lines each address may cause in the log.
    """

    def __init__(
        self,
        scope: Mapping[str, Any],
        receive: Receive,
        send: Send,
        limits: Limits,
        metrics: Metrics,
        lines: Allowance,
    ) -> None:
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        self.target: bytes = scope["raw_path"] + query
        self.method: str = scope["method"]
        self.peer: str = scope["client"][0] if scope["client"] else "unknown"
        self._raw_headers = scope["headers"]
        self._receive = receive
        self._send = send
        self._limits = limits
        self._metrics = metrics
        self._lines = lines
        self._begun = False
        self._complete = False

    def headers(self) -> dict[str, str]:
        """Return the headers.

        Raises:
            Denied: when one that matters stands there twice: the next reader might take the other one.
        """
        headers: dict[str, str] = {}
        for name, value in self._raw_headers:
            text = name.decode("latin-1").lower()
            if text in headers and (text in _PASSED_ON or text.startswith(_OWN_PREFIX)):
                raise Denied(400, f"the header {text[:40]} stands there twice")
            headers[text] = value.decode("latin-1")
        return headers

    @staticmethod
    def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that SuperLink may see."""
        return {n: v for n, v in headers.items() if n in _PASSED_ON or n.startswith(_OWN_PREFIX)}

    def check_body(self, headers: Mapping[str, str]) -> None:
        """Refuse a body by what its headers announce.

        Raises:
            Denied: 415 of another form than Flower's, 413 too large.
        """
        if headers.get("content-type", "").split(";")[0].strip().lower() != MEDIA:
            raise Denied(415, f"only {MEDIA} is served here")
        if "content-encoding" in headers:
            raise Denied(415, "an encoded body is not served here")
        announced = headers.get("content-length", "0")
        if not announced.isascii() or not announced.isdigit() or int(announced) > self._limits.body_bytes:
            raise self._too_large()

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body as it comes.

        Raises:
            Denied: 413 when it grows too large, 408 when it comes too slowly.
            PeerGone: when the peer is.
        """
        started, count = time.monotonic(), 0
        while not self._complete:
            data = await self._chunk()
            count += len(data)
            self._metrics.bytes_received += len(data)
            if count > self._limits.body_bytes:
                raise self._too_large()
            if _is_slow(count, time.monotonic() - started, self._limits):
                raise Denied(408, "the body comes too slowly")
            if data:
                yield data

    async def give(self, response: httpx.Response) -> None:
        """Pass SuperLink's answer back as it comes.

        Raises:
            TimeoutError: when the peer takes none of it for too long.
            PeerGone: when SuperLink breaks off in the middle.
        """
        self.count(response.status_code)
        kept = [(n, v) for n, v in response.headers.items() if n in _PASSED_BACK or n.startswith(_OWN_PREFIX)]
        await self._start(response.status_code, kept)
        try:
            async for data in _pieces(response):
                self._metrics.bytes_sent += len(data)
                await self._put(data, more=True)
        except httpx.HTTPError:
            raise PeerGone from None
        await self._put(b"", more=False)

    async def health(self, *, up: bool) -> None:
        """Answer whether nodes would be served."""
        status, word = (200, "ok") if up else (503, "starting")
        self.count(status)
        await self._say(status, {"status": word}, ())

    async def refuse(self, denied: Denied) -> None:
        """Answer with one line, in the form that Flower's nodes show, and close the connection.

        What the peer still sends is read for a moment, or it might never see the answer.
        """
        self.count(denied.status)
        if self._lines.take(self.peer):
            fields = {"peer": self.peer, "status": denied.status}
            _log.warning("refused %s: %s", self.peer, denied.log, extra={"fields": fields})
        if self._begun:
            return
        with suppress(TimeoutError, PeerGone):
            await self._say(
                denied.status, {"code": KEY_UNKNOWN, "detail": denied.reason}, (("connection", "close"),)
            )

    def note(self, line: str) -> None:
        """Write a line into the log, unless its address had too many."""
        if self._lines.take(self.peer):
            _log.info(line, extra={"fields": {"peer": self.peer}})

    def count(self, status: int) -> None:
        """Count the request under its route and status."""
        route = ROUTES.get(self.target, "/health" if self.target == b"/health" else "other")
        self._metrics.requests[route, status] += 1

    async def _chunk(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.stall_seconds):
                message = await self._receive()
        except TimeoutError:
            raise Denied(408, "the body stopped coming") from None
        if message["type"] == "http.disconnect":
            self._complete = True
            raise PeerGone
        self._complete = not message.get("more_body", False)
        data: bytes = message.get("body", b"")
        return data

    async def _say(self, status: int, content: Mapping[str, Any], more: tuple[tuple[str, str], ...]) -> None:
        body = json.dumps(content).encode()
        sized = [("content-type", "application/json"), ("content-length", str(len(body))), *more]
        await self._start(status, sized)
        await self._put(b"" if self.method == "HEAD" else body, more=True)
        if status >= 400:
            await self._linger()
        await self._put(b"", more=False)

    async def _linger(self) -> None:
        with suppress(TimeoutError, Denied, PeerGone):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._complete:
                    await self._chunk()

    async def _start(self, status: int, headers: list[tuple[str, str]]) -> None:
        self._begun = True
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _put(self, data: bytes, *, more: bool) -> None:
        async with asyncio.timeout(self._limits.stall_seconds):
            await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def _too_large(self) -> Denied:
        return Denied(413, f"the body is larger than {self._limits.body_bytes} bytes")


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield an answer as it comes, or whole where it was read already."""
    if response.is_stream_consumed:
        yield response.content
        return
    async for data in response.aiter_raw():
        yield data


def _is_slow(count: int, seconds: float, limits: Limits) -> bool:
    return seconds > limits.stall_seconds and count < limits.slowest_bytes_per_second * seconds
