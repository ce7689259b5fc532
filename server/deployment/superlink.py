"""SuperLink as a child: on loopback, with secrets and a home of its own; started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import ssl
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

import httpx

from common.flower_internals.control import ControlApi, FlowerRefused
from server.deployment.errors import ServerFailed
from server.deployment.metrics import Metrics
from server.deployment.orphans import end_orphans
from server.deployment.pki import make_server_certificate
from server.deployment.state_folder import StateFolder

_log = logging.getLogger("fedledger.superlink")

_HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 8.0
_LONGEST_PAUSE_SECONDS = 30.0
_LOG_BYTES, _LOG_FILES = 10 * 2**20, 5
_CERTIFICATE_DAYS = 3650


class SuperLink:
    """One SuperLink, watched.

    Args:
        state: where its database, log and secrets lie.
        lock: a descriptor that it inherits, so that the folder stays its own until it is gone.
        metrics: where starts are counted.
    """

    def __init__(self, state: StateFolder, lock: int, metrics: Metrics) -> None:
        self._state = state
        self._lock = lock
        self._metrics = metrics
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._output: asyncio.Task[None] | None = None
        self._began = 0.0
        self.port = free_port()
        self.context = self._prepare()

    @property
    def address(self) -> str:
        """Its host:port."""
        return f"{_HOST}:{self.port}"

    @property
    def is_up(self) -> bool:
        """Whether it answered when it was last asked."""
        return bool(self._metrics.superlink_up)

    def client(self, seconds: float) -> httpx.AsyncClient:
        """Return an HTTP client for it, which no proxy of the environment can divert.

        Args:
            seconds: how long an answer may take to begin.
        """
        return httpx.AsyncClient(
            base_url=f"https://{self.address}",
            verify=self.context,
            trust_env=False,
            timeout=httpx.Timeout(seconds, connect=5.0),
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
        )

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ServerFailed: when it ends, or does not answer in time; its log says why.
        """
        await self._spawn()
        if not await self._answers_in_time():
            await self.stop()
            raise ServerFailed(f"SuperLink did not start: {self._state.log} says why")
        await asyncio.to_thread(self._end_orphans)

    async def watch(self) -> None:
        """Start it again whenever it ends, after pauses that grow while it does not come up."""
        pause = 1.0
        while not self._stopping:
            if self._process is not None:
                status = await self._process.wait()
                self._metrics.superlink_up = 0
                if self._stopping:
                    return
                _log.error("SuperLink ended (status %s); it is started again", status)
            await asyncio.sleep(pause)
            await self._spawn()
            if not await self._answers_in_time():
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            pause = 1.0
            await asyncio.to_thread(self._end_orphans)

    async def stop(self) -> None:
        """End it, its SuperExec and the run that goes on; wait for it."""
        self._stopping = True
        self._metrics.superlink_up = 0
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._output is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._output, 2.0)

    def _end_orphans(self) -> None:
        """End the runs that went on when the last SuperLink ended; nobody else may have begun one yet."""
        authority, secret = self._state.authority.read_bytes(), self._state.secret.read_text(encoding="ascii")
        try:
            with contextlib.closing(ControlApi(self.address, authority, secret)) as control:
                for run_id in end_orphans(control, self._began):
                    _log.warning("run %d ended with the SuperLink that it ran on", run_id)
        except FlowerRefused as error:
            _log.warning("runs that SuperLink left behind end by themselves, in a minute (%s)", error)

    async def _spawn(self) -> None:
        self._state.new_secret()
        self._began = time.time()
        self._process = await asyncio.create_subprocess_exec(
            *self._command(),
            stdin=asyncio.subprocess.PIPE,  # its end tells SuperLink that this process is gone
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._state.superlink,
            env=environment(self._state.flower_home),
            pass_fds=(self._lock,),
            start_new_session=True,  # Ctrl-C is for the server, which then ends this one in order
            limit=2**20,
        )
        self._metrics.superlink_starts += 1
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        self._output = asyncio.create_task(_keep_log(self._process.stdout, self._state.log))

    def _command(self) -> list[str]:
        pki = self._state.authority.parent
        secret = str(self._state.secret)
        superexec = [
            *("--runtime-api-address", self.address),
            *("--root-certificates", str(self._state.authority)),
            *("--superexec-auth-secret-file", secret),
        ]
        superlink = [
            *("--host", _HOST, "--port", str(self.port)),
            *("--database", str(self._state.database)),
            *("--ssl-ca-certfile", str(self._state.authority)),
            *("--ssl-certfile", str(pki / "server.crt"), "--ssl-keyfile", str(pki / "server.key")),
            *("--isolation", "process", "--superexec-auth-secret-file", secret),
            "--enable-supernode-auth",
            "--disable-runtime-dependency-installation",
        ]
        launcher = [sys.executable, "-m", "server.deployment.superlink_process"]
        return [*launcher, secret, *superexec, "--", *superlink]

    def _prepare(self) -> ssl.SSLContext:
        """Give SuperLink a new CA and certificate for loopback, and trust that CA alone."""
        shutil.rmtree(self._state.authority.parent, ignore_errors=True)
        make_server_certificate(self._state.authority.parent, [_HOST], days=_CERTIFICATE_DAYS)
        self._state.flower_home.mkdir(mode=0o700, exist_ok=True)
        return ssl.create_default_context(cafile=str(self._state.authority))

    async def _answers_in_time(self) -> bool:
        """Wait until it answers; False when it ended before, or took too long."""
        try:
            async with asyncio.timeout(_START_SECONDS), self.client(2.0) as client:
                answers = await self._answers_while_it_runs(client)
        except TimeoutError:
            return False
        self._metrics.superlink_up = int(answers)
        return answers

    async def _answers_while_it_runs(self, client: httpx.AsyncClient) -> bool:
        while not await _answers(client):
            if self._process is None or self._process.returncode is not None:
                return False
            await asyncio.sleep(0.1)
        return True


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def environment(flower_home: Path) -> dict[str, str]:
    """Return the environment for Flower's processes: an own home, no telemetry, no proxy, no installs."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    scripts = str(Path(sys.executable).parent)
    return kept | {
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "FLWR_HOME": str(flower_home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.create_server((_HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def _keep_log(stream: asyncio.StreamReader, path: Path) -> None:
    """Write what SuperLink says into files of bounded size, less its lines for requests that succeeded."""
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES - 1)
    path.chmod(0o600)
    try:
        while line := await _next_line(stream):
            text = line.decode(errors="replace").rstrip()
            if '" 200' not in text:
                handler.emit(logging.LogRecord("", logging.INFO, "", 0, "%s", (text,), None))
    finally:
        handler.close()


async def _next_line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than the reader's limit; it was dropped
        return b"(a line that was too long)\n"
