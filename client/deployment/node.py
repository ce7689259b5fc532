"""A SuperNode as a child process, started again whenever, and for whatever reason, it ends."""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from client.deployment.addresses import LOOPBACK, free_port
from client.deployment.complaints import Complaints
from common.flower_internals import supernode_process
from common.flower_internals.node_output import MESSAGE_SIGNS
from common.run_folder import write_atomically

_log = logging.getLogger("fedledger.node")

_SECRET_BYTES = 32
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 12.0
_STEADY_SECONDS = 60.0
"""A SuperNode that lived so long had a connection: its next pause is the first one again."""
_GRACE_SECONDS = 8.0
"""SuperNode takes up to five seconds to give its session back to the server."""
_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_LOG_LEVEL": "INFO",  # below it, nobody would hear of a message
    "PYTHONUNBUFFERED": "1",
    "NO_COLOR": "1",
}


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """How a SuperNode reaches its server.

    Args:
        server: host:port.
        authority: the CA's certificate (PEM), or None for plain HTTP on loopback.
        key: the node's private key (OpenSSH, P-384), or None without TLS.
        number: the client's number, which travels to the worker with each message.
        home: its own folder.
    """

    server: str
    authority: Path | None
    key: Path | None
    number: int
    home: Path


@dataclass(frozen=True, kw_only=True)
class Access:
    """How a worker speaks to the SuperNode that runs now.

    Args:
        address: host:port on loopback.
        secret: without it no process of this machine can take a task.
    """

    address: str
    secret: bytes


class Node:
    """Keeps one SuperNode running, from `start` to `stop`.

    Args:
        options: how it reaches its server.
        message_came: called, by a thread of its own, when a message is there or about to be.
    """

    def __init__(self, options: NodeOptions, message_came: Callable[[], None]) -> None:
        self._options = options
        self._message_came = message_came
        self._stopping = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._access: Access | None = None
        self._wanted_gone = ""
        self._asked = False
        self._lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, name="node", daemon=True)

    @property
    def access(self) -> Access | None:
        """How to speak to the SuperNode that runs now; None while none does."""
        with self._lock:
            return self._access

    def start(self) -> None:
        """Begin to keep a SuperNode running."""
        self._options.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._keeper.start()

    def restart(self, access: Access, reason: str) -> None:
        """End the SuperNode behind `access`, if it is still that one, so that another begins."""
        with self._lock:
            if self._access is not access or self._process is None:
                return
            self._access = None
            self._wanted_gone = reason
            self._ask_to_end(self._process)

    def stop(self) -> None:
        """End the SuperNode in order, so that the server knows at once that the client has left."""
        self._stopping.set()
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._ask_to_end(self._process)
        if self._keeper.is_alive():
            self._keeper.join(timeout=2 * _GRACE_SECONDS)

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            status, complaint = self._run_one()
            lived = time.monotonic() - began
            if self._stopping.is_set():
                return
            pause = _FIRST_PAUSE if lived > _STEADY_SECONDS else pause
            fields = {"status": status, "lived_seconds": round(lived), "pause_seconds": round(pause)}
            _log.warning(
                "not connected: %s; another try in %.0f s", complaint, pause, extra={"fields": fields}
            )
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _run_one(self) -> tuple[int, str]:
        """Run one SuperNode until it ends; return its exit status and the reason that it gave."""
        access = Access(address=f"{LOOPBACK}:{free_port()}", secret=secrets.token_bytes(_SECRET_BYTES))
        secret_file = self._options.home / "worker.secret"
        write_atomically(secret_file, access.secret)
        complaints = Complaints(self._options.server, self._options.authority)
        with self._lock:
            if self._stopping.is_set():
                return 0, ""
            process = self._process = _launch(self._options, access, secret_file)
            self._access, self._wanted_gone, self._asked = access, "", False
        try:
            self._listen(process, complaints)
            return self._ended(process), self._wanted_gone or complaints.reason
        finally:
            with self._lock:
                self._access = self._process = None

    def _listen(self, process: subprocess.Popen[str], complaints: Complaints) -> None:
        """Hear what a SuperNode prints, to its end."""
        for line in process.stdout or ():
            complaints.hear(line)
            if any(sign in line for sign in MESSAGE_SIGNS):
                self._message_came()
            if complaints.is_lame:
                with self._lock:
                    self._ask_to_end(process)

    def _ask_to_end(self, process: subprocess.Popen[str]) -> None:
        """Ask once: a second signal would end it before it has given its session back."""
        if not self._asked:
            self._asked = True
            process.terminate()

    def _ended(self, process: subprocess.Popen[str]) -> int:
        """Wait for a process that has closed its output, and make sure that it is gone."""
        try:
            return process.wait(timeout=_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def arguments_of(options: NodeOptions, access: Access, secret_file: Path) -> list[str]:
    """Return the arguments of `flower-supernode`.

    Isolation `process` keeps SuperNode from starting any app: it hands messages to whoever has the secret.
    """
    host, _, port = access.address.rpartition(":")
    if options.authority is None:
        secured = ["--insecure"]
    else:
        secured = ["--root-certificates", str(options.authority)]
        secured += ["--auth-supernode-private-key", str(options.key)] if options.key else []
    return [
        *("--superlink", options.server, *secured),
        *("--isolation", "process", "--superexec-auth-secret-file", str(secret_file)),
        *("--host", host, "--port", port),
        *("--node-config", f"partition-id={options.number}"),
    ]


def _launch(options: NodeOptions, access: Access, secret_file: Path) -> subprocess.Popen[str]:
    script = [sys.executable, "-P", str(Path(supernode_process.__file__).absolute())]
    return subprocess.Popen(  # noqa: S603 - our own arguments, no shell
        [*script, *arguments_of(options, access, secret_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **_ENVIRONMENT, "FLWR_HOME": str(options.home)},
        cwd=options.home,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C is for the client, which ends its SuperNode in order
    )
