"""The folder that a server keeps from one start to the next, and where its parts lie in it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ConfigError
from server.deployment.errors import ServerFailed
from server.deployment.private_files import make_private_folder, replace_private, write_once

_LOCK_SECONDS = 10.0


class Running(BaseModel):
    """What the commands of this machine must know of a running server.

    Args:
        pid: of `fedledger server`.
        superlink: host:port of SuperLink, on loopback.
        gateway: host:port that clients reach.
        metrics: host:port of the metrics, on loopback.
        tls: whether the gateway speaks TLS.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    superlink: str
    gateway: str
    metrics: str
    tls: bool


class StateFolder:
    """A server's state: who is enrolled, SuperLink's database, its log, ledgers' log and runs.

    Args:
        root: the folder; for its owner alone.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.enrolments = self.root / "enrolled.json"
        self.running_file = self.root / "server.json"
        self.runs = self.root / "runs.jsonl"
        self.ledgers = self.root / "ledgers"
        self.superlink = self.root / "superlink"
        self.secret = self.superlink / "control.secret"
        self.authority = self.superlink / "pki" / "ca.crt"
        self.database = self.superlink / "state.db"
        self.log = self.superlink / "superlink.log"
        self.flower_home = self.superlink / "flwr"

    def lock(self) -> int:
        """Make the folder this server's own and return the descriptor that holds it.

        SuperLink inherits the descriptor: a SuperLink that outlives a killed server is waited for.

        Raises:
            ConfigError: when the folder cannot be used.
            ServerFailed: when another server uses it.
        """
        make_private_folder(self.root)
        make_private_folder(self.superlink)
        descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline or self._someone_serves():
                    os.close(descriptor)
                    raise ServerFailed(
                        f"{self.root} is in use by another server: stop it, or name another --state"
                    ) from None
                time.sleep(0.2)
            else:
                return descriptor

    def new_secret(self) -> str:
        """Write and return a secret for the control API of the SuperLink that starts now."""
        secret = secrets.token_urlsafe(32)
        self.secret.unlink(missing_ok=True)
        write_once(self.secret, secret.encode())
        return secret

    def announce(self, running: Running) -> None:
        """Let the commands of this machine find the server."""
        replace_private(self.running_file, running.model_dump_json().encode())

    def withdraw(self) -> None:
        """Say that the server is gone."""
        self.running_file.unlink(missing_ok=True)

    def running(self) -> Running:
        """Return how to reach the server that uses this folder.

        Raises:
            ServerFailed: when none does.
            ConfigError: when the folder is not a server's.
        """
        if not self.root.is_dir():
            raise ConfigError(
                f"{self.root} is not a server's folder: name that of `fedledger server --state`"
            )
        try:
            running = Running.model_validate_json(self.running_file.read_bytes())
            os.kill(running.pid, 0)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            raise ServerFailed(
                f"no server runs on {self.root}: start one with "
                f"`fedledger server --state {self.root} --pki DIR` (--host for clients elsewhere)"
            ) from None
        except ValidationError:
            raise ConfigError(f"{self.running_file} is damaged: start the server again") from None
        return running

    def remember_run(self, run_id: int, folder: Path) -> None:
        """Note which folder a run of SuperLink writes."""
        line = json.dumps({"run_id": str(run_id), "folder": str(folder)})
        with self.runs.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def folders_of_runs(self) -> dict[int, str]:
        """Return the folders of the runs that were noted; a line that is no note is passed over."""
        folders = {}
        lines = self.runs.read_text(encoding="utf-8").splitlines() if self.runs.exists() else []
        for line in lines:
            try:
                note = json.loads(line)
                folders[int(note["run_id"])] = str(note["folder"])
            except (ValueError, KeyError, TypeError):
                continue
        return folders

    def _someone_serves(self) -> bool:
        try:
            self.running()
        except (ServerFailed, ConfigError):
            return False
        return True
