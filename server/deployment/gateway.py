"""The gateway: an ASGI application that passes SuperLink's API of nodes, and nothing else, to the network."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from common.flower_internals.fleet_guard import MISDEEDS
from server.deployment.admission import Admission, Denied
from server.deployment.exchange import ROUTES, Exchange, PeerGone, Receive, Send
from server.deployment.limits import LOG_LINES, Allowance, Limits
from server.deployment.metrics import Metrics

_log = logging.getLogger("fedledger.gateway")

_UNAUTHORISED, _NOT_ACTIVATED = 401, 412
_ACTIVATE = b"/v1/fleet/activate-node"
_NOTED = {_ACTIVATE: "connected", b"/v1/fleet/deactivate-node": "left"}
"""What a client has done when SuperLink agrees to its request, for the log."""
_REFUSALS = frozenset({401, 403, 413})
"""Answers by which SuperLink, and our guard in it, refuses a node whose key is enrolled."""
_MOST_DETAIL_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """SuperLink, as the gateway sees it.

    Args:
        client: speaks to it.
        is_up: whether it answers.
    """

    client: httpx.AsyncClient
    is_up: Callable[[], bool]


class Gateway:
    """Compares the request's target, byte for byte, with the paths that nodes use; so no spelling gets past.

    Args:
        upstream: SuperLink.
        admission: who may pass.
        limits: of bodies and times.
        metrics: where it counts.
    """

    def __init__(self, *, upstream: Upstream, admission: Admission, limits: Limits, metrics: Metrics) -> None:
        self._upstream = upstream
        self._admission = admission
        self._limits = limits
        self._metrics = metrics
        self._lines = Allowance(*LOG_LINES)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, self._limits, self._metrics, self._lines)
        try:
            await self._answer(exchange)
        except Denied as denied:
            await exchange.refuse(_as_nodes_hear_it(exchange.target, denied))
        except PeerGone:
            exchange.count(499)
        except TimeoutError:
            exchange.count(408)
            _log.warning("%s took no more of its answer", exchange.peer)
            raise  # the connection is of no use any more

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.target == b"/health" and exchange.method in ("GET", "HEAD"):
            await exchange.health(up=self._upstream.is_up())
            return
        if exchange.target not in ROUTES:
            raise Denied(404, "there is nothing here")
        if exchange.method != "POST":
            raise Denied(405, "only POST is served here")
        headers = exchange.headers()
        with self._admission.admit(headers, exchange.peer) as name:
            exchange.check_body(headers)
            await self._pass_on(exchange, headers, name)

    async def _pass_on(self, exchange: Exchange, headers: Mapping[str, str], name: str) -> None:
        request = self._upstream.client.build_request(
            "POST", ROUTES[exchange.target], headers=exchange.passed_on(headers), content=exchange.body()
        )
        try:
            response = await self._upstream.client.send(request, stream=True)
        except httpx.TimeoutException:
            raise Denied(504, "the server took too long: try again") from None
        except httpx.TransportError:
            raise Denied(503, "the server is starting again: try again") from None
        try:
            if (sent := await _misdeed(response)) is not None:
                raise Denied(response.status_code, f"{name} sent {sent}")
            if response.is_success and (done := _NOTED.get(exchange.target)) is not None:
                exchange.note(f"{name} {done} ({exchange.peer})")
            await exchange.give(response)
        finally:
            await response.aclose()


async def _misdeed(response: httpx.Response) -> str | None:
    """Return what a node sent that none of ours does, by SuperLink's answer; None where that passes."""
    length = response.headers.get("content-length", "")
    if response.status_code not in _REFUSALS or not length.isdigit() or int(length) > _MOST_DETAIL_BYTES:
        return None
    with suppress(ValueError, KeyError, TypeError):
        return MISDEEDS.get(json.loads(await response.aread())["detail"])
    return None


def _as_nodes_hear_it(target: bytes, denied: Denied) -> Denied:
    """Choose the status by which a stock SuperNode does best: it ends without a word on 401, but for its
    first request shows the reason of another status.
    """
    if denied.status == _UNAUTHORISED and target == _ACTIVATE:
        return Denied(_NOT_ACTIVATED, denied.reason, log=denied.log)
    return denied
