"""Flower's Control API: nodes, and runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from common.errors import FedLedgerError
from common.flower_internals.fleet import MISSED_HEARTBEATS
from common.flower_internals.superlink import CONTROL_SECRET_HEADER


class FlowerRefused(FedLedgerError):
    """Flower's own server does not answer, or refuses what was asked; the text is its own, or says so.

    Args:
        status: its HTTP status; 0 when it does not answer.
    """

    code = "flower"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class NodeInfo:
    """What SuperLink knows of a node.

    Args:
        node_id: its address.
        name: as it was enrolled.
        status: registered (never seen), online, offline or unregistered.
        public_key: PEM.
        last_seen: seconds since 1970 of its last heartbeat; None when it was never seen.
    """

    node_id: int
    name: str
    status: str
    public_key: bytes
    last_seen: float | None


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What SuperLink knows of a run: its id, status (such as `finished:completed`), details and start."""

    run_id: int
    status: str
    details: str
    pending_at: str

    @property
    def finished(self) -> bool:
        """Whether it is over, for whatever reason."""
        return self.status.startswith("finished")


class ControlApi:
    """Flower's Control API, spoken over TLS on loopback.

    Args:
        address: host:port of SuperLink.
        authority: PEM, the CA of its certificate.
        secret: what `guard_control_api` was given.
    """

    def __init__(self, address: str, authority: bytes, secret: str) -> None:
        from flwr.supercore.control import ControlHttpClient

        _bypass_proxies()
        self._client = ControlHttpClient.from_server_address(
            address, insecure=False, root_certificates=authority, interceptors=[_Secret(secret)]
        )

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def nodes(self) -> list[NodeInfo]:
        """Return all nodes, by name; revoked ones as well."""
        from flwr.proto.control_pb2 import ListNodesRequest

        with _refusals():
            listed = self._client.ListNodes(ListNodesRequest()).nodes_info
        return sorted(map(_node, listed), key=lambda node: (node.name, node.node_id))

    def register(self, public_key: bytes, name: str) -> int:
        """Let a node connect, and return its id."""
        from flwr.proto.control_pb2 import RegisterNodeRequest

        with _refusals():
            return int(
                self._client.RegisterNode(RegisterNodeRequest(public_key=public_key, name=name)).node_id
            )

    def unregister(self, node_id: int) -> None:
        """Let a node no longer connect."""
        from flwr.proto.control_pb2 import UnregisterNodeRequest

        with _refusals():
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def start_run(self, bundle: bytes, settings: Mapping[str, bool | int | float | str]) -> int:
        """Submit a run and return its id."""
        import hashlib

        from flwr.common.serde import fab_to_proto, user_config_to_proto
        from flwr.proto.control_pb2 import StartRunRequest
        from flwr.supercore.fab import Fab

        fab = fab_to_proto(Fab(hashlib.sha256(bundle).hexdigest(), bundle, {}))
        request = StartRunRequest(
            fab=fab, override_config=user_config_to_proto(dict(settings)), federation=""
        )
        with _refusals():
            response = self._client.StartRun(request)
        if not response.HasField("run_id"):
            raise FlowerRefused("Flower did not start the run: its bundle may be too large")
        return int(response.run_id)

    def stop_run(self, run_id: int) -> None:
        """Stop a run at once."""
        from flwr.proto.control_pb2 import StopRunRequest

        with _refusals():
            self._client.StopRun(StopRunRequest(run_id=run_id))

    def runs(self, run_id: int | None = None) -> list[RunInfo]:
        """Return one run, or the latest twenty, newest first."""
        from flwr.proto.control_pb2 import ListRunsRequest

        with _refusals():
            listed = self._client.ListRuns(ListRunsRequest(run_id=run_id)).run_dict.values()
        return sorted(map(_run, listed), key=lambda run: run.pending_at, reverse=True)


class _Secret:
    """Adds the secret to every request."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def intercept(self, context: Any, call_next: Callable[[Any], Any]) -> Any:
        context.request.headers[CONTROL_SECRET_HEADER] = self._secret
        return call_next(context)


def _node(info: Any) -> NodeInfo:
    return NodeInfo(
        node_id=info.node_id,
        name=info.name,
        status=info.status,
        public_key=info.public_key,
        last_seen=_last_seen(info),
    )


def _last_seen(info: Any) -> float | None:
    """Return when a node was heard last; None when it was never seen.

    Flower keeps until when it counts as online, some heartbeats from the last one. It sets that to the moment
    when a node left or was shut out; one that was cut off seems to be seen for those heartbeats more.
    """
    if not info.online_until:
        return None
    ahead = MISSED_HEARTBEATS * info.heartbeat_interval if info.status == "online" else 0.0
    return float(info.online_until - ahead)


def _run(info: Any) -> RunInfo:
    status = ":".join(part for part in (info.status.status, info.status.sub_status) if part)
    return RunInfo(run_id=info.run_id, status=status, details=info.status.details, pending_at=info.pending_at)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what Flower's client raises into one line."""
    import httpx
    from flwr.supercore.error import FlowerError

    try:
        yield
    except httpx.HTTPStatusError as error:
        said = FlowerError.from_json(error.response.text)
        status = error.response.status_code
        text = said.message if said else f"HTTP status {status}"
        raise FlowerRefused(f"Flower refused: {text}", status) from None
    except httpx.TransportError as error:
        raise FlowerRefused(f"SuperLink does not answer ({type(error).__name__})") from None


def _bypass_proxies() -> None:
    """Keep loopback off any proxy of the environment, which Flower's client would use for it."""
    for variable in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(variable, "").split(",") if host]
        os.environ[variable] = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost"]))
