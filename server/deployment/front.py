"""The gateway's HTTP server: uvicorn with h11's strict parser, on a listener that counts connections."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator

import uvicorn

from server.deployment.connections import GatewayProtocol, Listener
from server.deployment.gateway import Gateway

_FAREWELL_SECONDS = 5
_HEAD_BYTES = 16 * 1024


class Front(uvicorn.Server):
    """uvicorn, less its signal handlers: signals are for the whole server."""

    @classmethod
    def over(cls, gateway: Gateway, listener: Listener, context: ssl.SSLContext | None) -> Front:
        """Return a server of the gateway on a listener.

        Args:
            context: of TLS; None serves plain HTTP.
        """
        limits = listener.limits
        return cls(
            uvicorn.Config(
                gateway,
                http=GatewayProtocol.bound(limits, listener),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                backlog=256,
                timeout_keep_alive=int(limits.idle_seconds),
                timeout_graceful_shutdown=_FAREWELL_SECONDS,
                h11_max_incomplete_event_size=_HEAD_BYTES,
                ssl_context_factory=None if context is None else (lambda _config, _default: context),
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
