"""Where a client's server is, and what it is safe to say to it in clear."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from urllib.request import getproxies, proxy_bypass

from common.errors import ConfigError

LOOPBACK = "127.0.0.1"
_PROBE_SECONDS = 3.0
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,20})")


def check_server(address: str, *, insecure: bool) -> str:
    """Return a server's address if it is one, and safe.

    Args:
        address: HOST:PORT; an IPv6 address stands in brackets.
        insecure: whether plain HTTP is wanted, which is for loopback only.

    Raises:
        ConfigError: when it is not an address, or plain HTTP would leave this machine.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        mend = "leave out https://" if "://" in address else "give both"
        raise ConfigError(f"--server {address[:80]!r} is not HOST:PORT: {mend}, such as a.org:8443")
    if not 0 < int(match["port"]) < 2**16:
        raise ConfigError(f"--server {address[:80]!r}: port {match['port']} is not permitted: 1 to 65535")
    if insecure and not _is_loopback(match["host"].strip("[]")):
        raise ConfigError(
            f"--insecure to {address} would send models in clear over a network: use TLS (--ca, --key); "
            "--insecure is for 127.0.0.1"
        )
    return address


def why_unanswered(address: str) -> str:
    """Return in words what one attempt to connect to a server meets; it takes a few seconds at most.

    Args:
        address: as `check_server` has passed it.
    """
    host, _, port = address.rpartition(":")
    if "https" in getproxies() and not proxy_bypass(host):
        return "by way of the proxy that $https_proxy names"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS).close()
    except socket.gaierror:
        return "name not known"
    except OSError as error:
        return (error.strerror or "timed out").lower()
    return "connected, but without an answer"


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def keep_loopback_off_proxies() -> None:
    """Let this process and its children reach their own machine directly, whatever proxy is set."""
    for variable in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(variable, "").split(",") if host]
        os.environ[variable] = ",".join(dict.fromkeys([*hosts, LOOPBACK, "localhost"]))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
