"""The server as a whole: SuperLink, the gateway before it and the metrics, begun and ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import ConfigError, FedLedgerError
from common.flower_internals.control import ControlApi
from server.deployment.admission import Admission
from server.deployment.connections import GatewayLoop, Listener
from server.deployment.enrolment import Enrolments
from server.deployment.errors import ServerFailed
from server.deployment.front import Front
from server.deployment.gateway import Gateway, Upstream
from server.deployment.limits import Limits
from server.deployment.metrics import Metrics, serve_metrics
from server.deployment.state_folder import Running, StateFolder
from server.deployment.superlink import SuperLink
from server.deployment.tls import TlsFiles, refuse_unusable, server_context

_log = logging.getLogger("fedledger.server")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What `fedledger server` is told.

    Args:
        state: the folder that it keeps.
        host: an address of this machine, or 0.0.0.0 or :: for all.
        port: 0 takes a free one.
        tls: what it shows to clients; None serves plain HTTP, on loopback alone.
        metrics_port: on loopback; 0 takes a free one.
        limits: of the gateway.
    """

    state: Path
    host: str
    port: int
    tls: TlsFiles | None
    metrics_port: int = 0
    limits: Limits = field(default_factory=Limits)


def serve(options: ServerOptions) -> None:
    """Serve until SIGINT or SIGTERM, then end everything that was begun.

    Raises:
        ConfigError: when the options cannot be had: certificate, address, folder.
        ServerFailed: when another server uses the folder, or SuperLink does not start.
    """
    if options.tls is None and not is_loopback(options.host):
        raise ConfigError(
            f"--insecure on {options.host} would send everything in clear over the network: give --pki DIR, "
            "or keep --host 127.0.0.1"
        )
    if options.tls is not None:
        refuse_unusable(options.tls)
    state = StateFolder(options.state)
    lock = state.lock()
    try:
        Enrolments(state.enrolments).all()
        _permit_many_connections()
        GatewayLoop.handshake_seconds = options.limits.head_seconds
        with asyncio.Runner(loop_factory=GatewayLoop) as runner:
            runner.run(_serve(options, state, lock))
    finally:
        os.close(lock)


def is_loopback(host: str) -> bool:
    """Return whether an address (or `localhost`) can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _serve(options: ServerOptions, state: StateFolder, lock: int) -> None:
    metrics = Metrics()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = _listen(options, metrics)
    superlink = SuperLink(state, lock, metrics)
    try:
        await _start_unless_stopped(superlink, stop)
        if not stop.is_set():
            await _serve_through(listener, superlink, stop, options, state)
    finally:
        state.withdraw()
        await superlink.stop()
        listener.close()
        _log.info("the server has ended")


async def _start_unless_stopped(superlink: SuperLink, stop: asyncio.Event) -> None:
    starting, stopping = asyncio.create_task(superlink.start()), asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting


async def _serve_through(
    listener: Listener, superlink: SuperLink, stop: asyncio.Event, options: ServerOptions, state: StateFolder
) -> None:
    metrics, limits = listener.metrics, options.limits
    enrolments = Enrolments(state.enrolments)
    async with superlink.client(limits.upstream_seconds) as client:
        gateway = Gateway(
            upstream=Upstream(client=client, is_up=lambda: superlink.is_up),
            admission=Admission(enrolments.admitted, limits, revoked=enrolments.revoked),
            limits=limits,
            metrics=metrics,
        )
        context = server_context(options.tls) if options.tls else None
        front = Front.over(gateway, listener, context)
        exposition, port = await _expose(state, superlink, metrics, options.metrics_port)
        serving = asyncio.create_task(front.serve(sockets=[listener]))
        watching = asyncio.create_task(superlink.watch())
        _announce(listener, superlink, port, options, state)
        await stop.wait()
        _log.info("ending: no new requests are taken")
        front.should_exit = True
        await serving
        exposition.close()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


def _listen(options: ServerOptions, metrics: Metrics) -> Listener:
    host = "127.0.0.1" if options.host == "localhost" else options.host
    try:
        return Listener.open(
            host, options.port, limits=options.limits, metrics=metrics, tls=options.tls is not None
        )
    except OSError as error:
        raise ConfigError(
            f"{options.host}:{options.port} cannot be listened on ({error.strerror}): choose another --host "
            "or --port"
        ) from None


async def _expose(
    state: StateFolder, superlink: SuperLink, metrics: Metrics, port: int
) -> tuple[asyncio.Server, int]:
    async def refresh() -> None:
        with contextlib.suppress(FedLedgerError):
            counts = await asyncio.to_thread(_count_nodes, state, superlink.address)
            metrics.nodes_enrolled, metrics.nodes_online = counts["enrolled"], counts["online"]

    try:
        return await serve_metrics(metrics, refresh, port)
    except OSError as error:
        raise ConfigError(f"--metrics-port {port} cannot be had ({error.strerror}): choose another") from None


def _count_nodes(state: StateFolder, address: str) -> Mapping[str, int]:
    enrolled = Enrolments(state.enrolments).admitted()
    with contextlib.closing(control_api(state, address)) as control:
        online = [node for node in control.nodes() if node.status == "online"]
    return {"enrolled": len(enrolled), "online": len(online)}


def control_api(state: StateFolder, address: str) -> ControlApi:
    """Return the control API of the SuperLink at an address of loopback.

    Raises:
        ServerFailed: when its secret cannot be read by this account.
    """
    try:
        return ControlApi(address, state.authority.read_bytes(), state.secret.read_text(encoding="ascii"))
    except OSError as error:
        raise ServerFailed(
            f"{error.filename} cannot be read ({error.strerror}): use the account that runs the server"
        ) from None


def _announce(
    listener: Listener, superlink: SuperLink, metrics_port: int, options: ServerOptions, state: StateFolder
) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    running = Running(
        pid=os.getpid(),
        superlink=superlink.address,
        gateway=shown,
        metrics=f"127.0.0.1:{metrics_port}",
        tls=options.tls is not None,
    )
    state.announce(running)
    kind = "TLS" if running.tls else "PLAIN HTTP, on loopback alone"
    _log.info(
        "serving clients on %s (%s); metrics on http://%s/metrics",
        running.gateway,
        kind,
        running.metrics,
        extra={"fields": {"gateway": running.gateway, "metrics": running.metrics}},
    )


def _permit_many_connections() -> None:
    """Raise this process's limit of open files to what the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
