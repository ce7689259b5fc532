"""A server that is taken over: it sends its clients what it likes, from a bundle that they know."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx
from flwr.app import Message, RecordDict
from flwr.common.serde import fab_to_proto, run_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from common.flower_internals.supernode import TAKES_TASKS
from common.messages import parse_reply
from common.protocol import Reply
from server.deployment.superlink import free_port
from tests.real_clients import BIN, LoopbackServer, Process

_BEAT_SECONDS = 10.0


class HostileServer(LoopbackServer):
    """A SuperLink on loopback whose ServerApp is the test itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._secret = b"s" * 32
        secret = folder / "secret"
        secret.write_bytes(self._secret)
        command = [
            *(BIN / "flower-superlink", "--insecure", "--isolation", "process"),
            *("--superexec-auth-secret-file", secret),
            *("--host", "127.0.0.1", "--port", self.port, "--database", folder / "state.db"),
            "--disable-runtime-dependency-installation",
        ]
        Process.__init__(self, command, folder / "superlink.log", folder / "superlink-home")

    def begin(self, bundle: bytes, settings: Mapping[str, bool | int | float | str]) -> HostileRun:
        """Begin a run from a bundle."""
        control = ControlHttpClient.from_server_address(
            self.address, insecure=True, root_certificates=None, interceptors=[]
        )
        fab = fab_to_proto(Fab(hashlib.sha256(bundle).hexdigest(), bundle, {}))
        config = user_config_to_proto(dict(settings))
        control.StartRun(StartRunRequest(fab=fab, override_config=config, federation=""))
        control.close()
        return HostileRun(self.address, self._acquire())

    def _acquire(self) -> str:
        guard = SuperExecAuthHttpInterceptor(master_secret=self._secret, protected_methods=TAKES_TASKS)
        tasks = RuntimeHttpClient.from_server_address(
            self.address, insecure=True, root_certificates=None, interceptors=[guard]
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            taken = tasks.AcquireTask(AcquireTaskRequest(supported_task_types=tuple(TaskType)))
            if taken.token:
                return str(taken.token)
            time.sleep(0.2)
        raise AssertionError(self.said[-3000:])


class HostileRun:
    """One run, in which any message may be sent."""

    def __init__(self, address: str, token: str) -> None:
        self.grid = HttpGrid(address, insecure=True, token=token)
        self._client = self.grid._runtime_client
        task = self._client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = task.task_id, task.run.run_id
        TaskIdentity.node_id = task.context.node_id
        self.grid.set_run(run_from_proto(task.run))
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            with suppress(httpx.HTTPError):
                self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())

    def end(self) -> None:
        """Let go of it."""
        self._over.set()
        self._beating.join()
        self.grid.close()

    def node(self) -> int:
        """Return the only node, once it is here."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if nodes := list(self.grid.get_node_ids()):
                return int(nodes[0])
            time.sleep(0.2)
        raise AssertionError("no node came")

    def raw(self, content: RecordDict, kind: str = "train", seconds: float = 90) -> Message:
        """Send a message and return the answer to it as it came."""
        (sent,) = self.grid.push_messages([Message(content, self.node(), kind, group_id="hostile")])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for answer in self.grid.pull_messages([sent]):
                return answer
            time.sleep(0.1)
        raise AssertionError("no answer came")

    def ask(self, content: RecordDict, kind: str = "train") -> Reply:
        """Send a message and return the answer to it."""
        return parse_reply(self.raw(content, kind))
