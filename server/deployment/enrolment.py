"""Whose keys may connect: a file of the server's state, which the gateway reads and SuperLink agrees with."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ConfigError
from common.flower_internals.control import FlowerRefused, NodeInfo
from server.deployment.errors import ServerFailed
from server.deployment.node_keys import check_name
from server.deployment.private_files import replace_private


class Enrolled(BaseModel):
    """One client's key.

    Args:
        name: the client's.
        public_key: PEM.
        node_id: under which SuperLink knows it.
        enrolled_at: time, UTC, ISO 8601.
        revoked_at: the same; empty while the key may connect.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    public_key: str
    node_id: int
    enrolled_at: str
    revoked_at: str = ""


class Nodes(Protocol):
    """What enrolment asks of SuperLink; `common.flower_internals.control.ControlApi` is one."""

    def nodes(self) -> list[NodeInfo]:
        """Return all nodes."""

    def register(self, public_key: bytes, name: str) -> int:
        """Let a node connect."""

    def unregister(self, node_id: int) -> None:
        """Let a node no longer connect."""


class Enrolments:
    """The file `enrolled.json` of a state folder.

    Args:
        path: the file; absent means that nobody is enrolled.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._admitted: dict[bytes, str] = {}
        self._revoked: dict[bytes, str] = {}

    def all(self) -> list[Enrolled]:
        """Return every key that was ever enrolled, in that order.

        Raises:
            ConfigError: when the file is damaged: nobody is let in by guess.
        """
        try:
            records = json.loads(self._path.read_bytes())
            return [Enrolled.model_validate(record) for record in records]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, ValidationError, TypeError):
            raise ConfigError(
                f"{self._path} cannot be read as a list of keys: put a good copy back"
            ) from None

    def admitted(self) -> dict[bytes, str]:
        """Return the keys (PEM) that may connect, each with its client's name; read again when it changed.

        Raises:
            ConfigError: when the file is damaged.
        """
        self._read_again()
        return self._admitted

    def revoked(self) -> dict[bytes, str]:
        """Return the keys (PEM) that may connect no more, each with the name that its client had.

        Raises:
            ConfigError: when the file is damaged.
        """
        self._read_again()
        return self._revoked

    def enroll(self, nodes: Nodes, name: str, public_key: bytes) -> Enrolled:
        """Let a client connect.

        An enrolment that was interrupted after SuperLink took the key is completed, and one that SuperLink
        has forgotten (its database was lost) is made again.

        Raises:
            ConfigError: when the name or the key is enrolled, or the key was once revoked.
            FlowerRefused: when SuperLink refuses the key.
        """
        check_name(name)
        with self._exclusively():
            known = _without_forgotten(self.all(), nodes, name, public_key)
            _refuse_known(known, name, public_key.decode())
            entry = Enrolled(
                name=name,
                public_key=public_key.decode(),
                node_id=_register(nodes, name, public_key),
                enrolled_at=_now(),
            )
            self._write([*known, entry])
        return entry

    def revoke(self, nodes: Nodes, name: str) -> Enrolled:
        """Shut a client out: from its next request on, and for ever under this key.

        Raises:
            ConfigError: when nobody of that name may connect.
        """
        with self._exclusively():
            known = self.all()
            found = [entry for entry in known if entry.name == name and not entry.revoked_at]
            if not found:
                _refuse_revoked(known, name)
                there = ", ".join(sorted(e.name for e in known if not e.revoked_at)) or "nobody"
                raise ConfigError(f"{name!r} is not enrolled: enrolled are {there}")
            revoked = found[0].model_copy(update={"revoked_at": _now()})
            self._write([revoked if entry is found[0] else entry for entry in known])  # the gateway first
            _unregister(nodes, revoked.node_id)
        return revoked

    def _write(self, entries: list[Enrolled]) -> None:
        replace_private(self._path, json.dumps([entry.model_dump() for entry in entries], indent=1).encode())

    def _read_again(self) -> None:
        stamp = self._stamp_now()
        if stamp != self._stamp:
            entries = self.all()
            self._admitted = {e.public_key.encode(): e.name for e in entries if not e.revoked_at}
            self._revoked = {e.public_key.encode(): e.name for e in entries if e.revoked_at}
            self._stamp = stamp

    def _stamp_now(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        lock = self._path.with_suffix(".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _without_forgotten(known: list[Enrolled], nodes: Nodes, name: str, public_key: bytes) -> list[Enrolled]:
    """Return the list without this very enrolment, if SuperLink does not know of it."""
    if _node_of(nodes, public_key) is not None:
        return known
    this = (name, public_key.decode(), "")
    return [entry for entry in known if (entry.name, entry.public_key, entry.revoked_at) != this]


def _refuse_known(known: list[Enrolled], name: str, public_key: str) -> None:
    for entry in known:
        if entry.public_key == public_key and entry.revoked_at:
            raise ConfigError(
                f"this key was revoked (as {entry.name}) and stays so: make {name} a new one with "
                "`fedledger pki client`"
            )
        if entry.public_key == public_key:
            raise ConfigError(f"this key is enrolled as {entry.name} already: nothing is to do")
        if entry.name == name and not entry.revoked_at:
            raise ConfigError(
                f"{name} is enrolled with another key: give another --name, or revoke it first "
                f"(`fedledger revoke {name}`)"
            )


def _refuse_revoked(known: list[Enrolled], name: str) -> None:
    for entry in known:
        if entry.name == name:
            raise ConfigError(f"{name} was revoked already, at {entry.revoked_at}: nothing is to do")


def _register(nodes: Nodes, name: str, public_key: bytes) -> int:
    number = _node_of(nodes, public_key)
    return nodes.register(public_key, name) if number is None else number


def _node_of(nodes: Nodes, public_key: bytes) -> int | None:
    """Return the number under which SuperLink lets a key connect."""
    for node in nodes.nodes():
        if node.public_key == public_key and node.status != "unregistered":
            return node.node_id
    return None


def _unregister(nodes: Nodes, node_id: int) -> None:
    """Tell SuperLink as well; that it has forgotten the node (its database was lost) is no failure."""
    try:
        nodes.unregister(node_id)
    except FlowerRefused as error:
        if error.status != 404:
            raise ServerFailed(
                f"the gateway shuts the key out from now on, but SuperLink still knows it ({error}): "
                "run the same command again"
            ) from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
