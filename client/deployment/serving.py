"""A whole client: opened from its own facts, kept connected, and ended in order."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from client.deployment.addresses import keep_loopback_off_proxies
from client.deployment.attendant import Attendance, Attendant
from client.deployment.facts import Facts, own_folder, partition_of
from client.deployment.node import Node, NodeOptions
from client.deployment.number import keep_number
from client.policy_file import PolicyFile
from common.config import Settings
from common.errors import ConfigError
from common.run_folder import RunFolder, exclusively

_log = logging.getLogger("fedledger.client")

_IN_USE = "stop it, or name another --state"
_PATIENCE_SECONDS = 5.0
"""The worker of a client that was killed may hold its folder for a moment longer."""


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """What `fedledger client` was told.

    Args:
        server: host:port.
        authority: the CA's certificate, or None for plain HTTP on loopback.
        key: the node's private key, or None for plain HTTP.
        state: the client's own folder.
        policy: what the site permits.
        data_dir: a folder of images of its own, or None.
        partition: `I/N` of a named data set, or None.
        number: the client's number, or None where it follows from the partition or the node's key.
        settings: of `--set`.
        warm_seconds: how long after its last message the worker stays loaded.
        log_format: `text` or `json`.
        log_level: of `logging`.
    """

    server: str
    authority: Path | None
    key: Path | None
    state: Path
    policy: PolicyFile
    data_dir: Path | None
    partition: str | None
    number: int | None
    settings: Settings
    warm_seconds: float = 300.0
    log_format: str = "text"
    log_level: int = logging.INFO


def serve(options: ClientOptions) -> None:
    """Take part in runs until the process is asked to end.

    Raises:
        ConfigError, ClientNotOpened: before anything is sent, when the client cannot be opened.
        CheckpointError: when another client uses the same folder.
    """
    os.umask(0o077)
    keep_loopback_off_proxies()
    state = options.state.expanduser().absolute()
    _make(state)
    with exclusively(RunFolder(state), patience_seconds=_PATIENCE_SECONDS, way_out=_IN_USE) as lock:
        facts = facts_of(options, state)
        attendant = Attendant(_attendance(options, facts, lock))
        node = Node(_node_options(options, facts, state), attendant.message_came)
        with _until_asked_to_end(attendant):
            _take_part(attendant, node)
        _log.info("ended as it was asked to")


def _take_part(attendant: Attendant, node: Node) -> None:
    try:
        if attendant.open():
            node.start()
            attendant.run(node)
    finally:
        attendant.close()
        node.stop()


def facts_of(options: ClientOptions, state: Path) -> Facts:
    """Return the client's facts.

    Raises:
        ConfigError: when they are not given, or given twice.
    """
    if (options.data_dir is None) == (options.partition is None):
        raise ConfigError(
            "a client holds one set of images: give --data-dir DIR, or for trials --partition I/N, not both"
        )
    if options.partition is not None:
        facts = partition_of(options.partition, options.number, options.settings, state, options.policy)
        keep_number(state, facts.number)
        return facts
    number = keep_number(state, options.number, key=options.key)
    return own_folder(options.data_dir or Path(), number, options.settings, state, options.policy)


def _make(state: Path) -> None:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--state {state} cannot be used ({error.strerror}): name another folder") from None


def _node_options(options: ClientOptions, facts: Facts, state: Path) -> NodeOptions:
    return NodeOptions(
        server=options.server,
        authority=options.authority.expanduser().absolute() if options.authority else None,
        key=options.key.expanduser().absolute() if options.key else None,
        number=facts.number,
        home=state / "node",
    )


def _attendance(options: ClientOptions, facts: Facts, lock: int) -> Attendance:
    return Attendance(
        facts=facts,
        lock=lock,
        warm_seconds=options.warm_seconds,
        log_format=options.log_format,
        log_level=options.log_level,
    )


@contextmanager
def _until_asked_to_end(attendant: Attendant) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C stop the attendant; a second one does not wait for the round that has begun."""
    asked = False

    def ask(signum: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise SystemExit(128 + signum)
        asked = True
        attendant.stop()
        _log.info("ending; a round that has begun is finished first, another signal does not wait for it")

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
