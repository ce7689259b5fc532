"""The network between each client and the server, which can be cut and slowed.

Where root allows it, every client has a network namespace of its own, joined to the server's by a pair of
veth devices: `ip link set down` cuts it, a token bucket on both ends slows it. Elsewhere, each client reaches
the server through a small TCP proxy that then swallows, or trickles, what it is given.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress
from typing import Protocol

_PIECE = 16384
_SLOW_BYTES_PER_SECOND = 32_000


class Link(Protocol):
    """One client's way to the server."""

    kind: str
    host: str
    prefix: list[str]

    def address(self, port: int) -> str:
        """Return where the client finds the server that listens on `port`."""

    def cut(self) -> None:
        """Let nothing through any more, and tell nobody."""

    def slow(self) -> None:
        """Let little through."""

    def mend(self) -> None:
        """Let everything through again."""

    def close(self) -> None:
        """Take the link away."""


class NamespaceLink:
    """A namespace of its own behind a pair of veth devices.

    Args:
        number: the client's.
        net: third byte of the addresses, from 198.18.0.0/15, which is set aside for such tests.
    """

    kind = "network namespaces"

    def __init__(self, number: int, net: int) -> None:
        self._name = f"fl{net}-{number}"
        self._here, self._there = f"flh{net}-{number}", f"flc{net}-{number}"
        self.host, peer = f"198.18.{net}.{4 * number + 1}", f"198.18.{net}.{4 * number + 2}"
        self.prefix = [_program("ip"), "netns", "exec", self._name]
        _ip("netns", "add", self._name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there)
        _ip("link", "set", self._there, "netns", self._name)
        _ip("addr", "add", f"{self.host}/30", "dev", self._here)
        _ip("-n", self._name, "addr", "add", f"{peer}/30", "dev", self._there)
        for device in (self._there, "lo"):
            _ip("-n", self._name, "link", "set", device, "up")
        _ip("link", "set", self._here, "up")

    def address(self, port: int) -> str:
        return f"{self.host}:{port}"

    def cut(self) -> None:
        _ip("link", "set", self._here, "down")

    def slow(self) -> None:
        shape = ["root", "tbf", "rate", f"{_SLOW_BYTES_PER_SECOND}bps", "burst", "16kb", "latency", "800ms"]
        _command("tc", "qdisc", "replace", "dev", self._here, *shape)
        _command("tc", "-n", self._name, "qdisc", "replace", "dev", self._there, *shape)

    def mend(self) -> None:
        _ip("link", "set", self._here, "up")
        with suppress(subprocess.CalledProcessError):
            _command("tc", "qdisc", "del", "dev", self._here, "root")
            _command("tc", "-n", self._name, "qdisc", "del", "dev", self._there, "root")

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._here)
        _ip("netns", "del", self._name)


class ProxyLink:
    """A TCP proxy on loopback; a thread a connection."""

    kind = "a TCP proxy"
    host = "127.0.0.1"

    def __init__(self) -> None:
        self.prefix: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = 0
        self._open = threading.Event()
        self._open.set()
        self._bytes_per_second = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def address(self, port: int) -> str:
        self._port = port
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        self._open.clear()

    def slow(self) -> None:
        self._bytes_per_second = _SLOW_BYTES_PER_SECOND

    def mend(self) -> None:
        self._bytes_per_second = 0
        self._open.set()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        self._open.wait()
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._port)) as server:
            other = {client: server, server: client}
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    piece = ready.recv(_PIECE)
                    self._open.wait()
                    if self._bytes_per_second:
                        time.sleep(len(piece) / self._bytes_per_second)
                    if not piece:
                        return
                    other[ready].sendall(piece)


def namespaces_allowed() -> bool:
    """Say whether this process may make network namespaces and join them."""
    if os.geteuid() != 0:
        return False
    try:
        _program("tc")
        NamespaceLink(60, os.getpid() % 250).close()  # others may try at the same moment
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False
    return True


def _ip(*arguments: str) -> None:
    _command("ip", *arguments)


def _command(program: str, *arguments: str) -> None:
    subprocess.run([_program(program), *arguments], check=True, capture_output=True)


def _program(name: str) -> str:
    """Return where a program of the system's lies, which not every PATH names.

    Raises:
        FileNotFoundError: when it is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(name)
    return found
