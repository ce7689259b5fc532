"""SuperLink in a process of ours, with a secret wherever it would trust any process of the machine."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from common.errors import HOW_TO_TRAIN, ConfigError

CONTROL_SECRET_HEADER = "x-fedledger-control"  # noqa: S105 - a header's name
"""The header, ours, without which a SuperLink under `guard_control_api` answers no control request."""

_OPEN_PREFIXES = ("/v1/fleet/", "/v1/runtime/")


def guard_control_api(secret: str) -> None:
    """Make the SuperLink that this process will run ask for a secret wherever it trusts any local process.

    Without it every account of the machine may start a run, and so execute code as the server's account. Only
    the API of nodes (which prove who they are) and that of tasks (which hold tokens) stay as they are.
    """
    from flwr.superlink import extensions
    from starlette.middleware import Middleware

    extensions.get_middleware = lambda: (Middleware(SecretRequired, secret=secret),)


class SecretRequired:
    """ASGI middleware that answers 401 to a request without the secret.

    Args:
        app: what is guarded.
        secret: what the header must hold.
    """

    def __init__(self, app: Callable[..., Any], secret: str) -> None:
        self._app = app
        self._secret = secret.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan" or self._may_pass(scope):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    def _may_pass(self, scope: Any) -> bool:
        import hmac

        if scope["type"] != "http":
            return False
        if scope["path"] == "/health" or scope["path"].startswith(_OPEN_PREFIXES):
            return True
        given = [value for name, value in scope["headers"] if name == CONTROL_SECRET_HEADER.encode()]
        return len(given) == 1 and hmac.compare_digest(given[0], self._secret)


def run_superlink() -> None:
    """Run `flower-superlink` in this process, with the arguments in `sys.argv`."""
    command("flower-superlink")()


def command(name: str) -> Callable[[], Any]:
    """Return what one of Flower's commands runs.

    Raises:
        ConfigError: when it is not installed.
    """
    found = list(entry_points(group="console_scripts", name=name))
    if not found:
        raise ConfigError(f"{name} is not installed: {HOW_TO_TRAIN}")
    loaded: Callable[[], Any] = found[0].load()
    return loaded
