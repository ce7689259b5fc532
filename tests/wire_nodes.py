"""Nodes that speak Flower's wire themselves, through the gateway: honest, or sending anything at all."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ObjectTree, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from common.messages import reply_record
from tests.deployed_server import Deployment

_SEEN: dict[str, bytes] = {}
"""Objects by the hash of their content: a model that all nodes are sent is fetched once."""

_BEAT_SECONDS, _PAUSE_SECONDS = 10.0, 0.4

Answer = Callable[[Message], Any]


class WireNode:
    """One enrolled node. What `answer` returns is sent; a function is called with node and question instead.

    Args:
        server: whose gateway it reaches.
        name: as it was enrolled.
        answer: of each message.
    """

    def __init__(self, server: Deployment, name: str, answer: Answer) -> None:
        self.name = name
        self._answer = answer
        self.address = server.running["gateway"]
        self.authority = str(server.folder / "pki" / "ca.crt")
        self.noted: dict[str, int] = {}
        self.peers: dict[str, WireNode] = {}
        key = load_ssh_private_key((server.folder / "keys" / name).read_bytes(), None)
        self._signer = NodeAuthHttpInterceptor(key, key.public_key())
        self.client = FleetHttpClient.from_server_address(
            self.address, insecure=False, root_certificates=self.authority, interceptors=[self._signer]
        )
        self.failed: list[BaseException] = []
        self._stopping = threading.Event()
        self.node = Node(node_id=self._activate(key.public_key()))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _activate(self, public_key: Any) -> int:
        from flwr.supercore.primitives.asymmetric import public_key_to_bytes

        request = ActivateNodeRequest(public_key=public_key_to_bytes(public_key), heartbeat_interval=30)
        return int(self.client.ActivateNode(request).node_id)

    def signed(self, request: httpx.Request) -> httpx.Headers:
        """Return a request's headers with this node's signature."""
        context: Any = SimpleNamespace(request=request)
        self._signer.intercept(context, lambda _: httpx.Response(200))
        return request.headers

    def stop(self) -> None:
        """Take leave."""
        self._stopping.set()
        self._thread.join(20)
        with suppress(httpx.HTTPError):
            self.client.DeactivateNode(DeactivateNodeRequest(node_id=self.node.node_id))
        self.client.close()

    def _serve(self) -> None:
        beaten = 0.0
        while not self._stopping.wait(_PAUSE_SECONDS):
            try:
                if time.monotonic() - beaten > _BEAT_SECONDS:
                    beaten = time.monotonic()
                    beat = SendNodeHeartbeatRequest(node=self.node, heartbeat_interval=30)
                    self.client.SendNodeHeartbeat(beat)
                self._look()
            except BaseException as error:  # noqa: BLE001 - a test asks what went wrong
                self.failed.append(error)

    def _look(self) -> None:
        pulled = self.client.PullMessages(PullMessagesRequest(node=self.node))
        for proto, tree in zip(pulled.messages_list, pulled.message_object_trees, strict=True):
            question = self._whole(message_from_proto(proto), tree)
            answer = self._answer(question)
            if callable(answer):
                answer(self, question)
            else:
                self.send(question, answer)

    def _whole(self, outside: Message, tree: ObjectTree) -> Message:
        run_id = outside.metadata.run_id
        contents = {
            name: self._pull(run_id, name) for name in {part.object_id for part in iterate_object_tree(tree)}
        }
        message: Any = inflate_object_from_contents(tree.object_id, contents)
        message.metadata.__dict__["_message_id"] = outside.metadata.message_id
        return message  # type: ignore[no-any-return]

    def _pull(self, run_id: int, name: str) -> bytes:
        for _ in range(100):
            if name in _SEEN:
                return _SEEN[name]
            asked = PullObjectRequest(node=self.node, run_id=run_id, object_id=name)
            got = self.client.PullObject(asked)
            if got.object_available:
                _SEEN[name] = bytes(got.object_content)
            else:
                time.sleep(_PAUSE_SECONDS)
        raise TimeoutError(name)

    def reply(self, question: Message, answer: Any) -> Message:
        """Return an answer as Flower's message."""
        if not isinstance(answer, Message | RecordDict):
            answer = reply_record(answer)
        message = answer if isinstance(answer, Message) else Message(answer, reply_to=question)
        message.metadata.__dict__["_reply_to_message_id"] = question.metadata.message_id
        message.metadata.__dict__["_message_id"] = message.object_id
        return message

    def send(self, question: Message, answer: Any) -> None:
        """Send an answer as a SuperNode does."""
        reply = self.reply(question, answer)
        objects = {name: part.deflate() for name, part in get_all_nested_objects(reply).items()}
        begun = self.begin(reply, get_object_tree(reply))
        for name in begun.objects_to_push:
            self.push(reply.metadata.run_id, begun.session_id, name, objects[name])

    def begin(
        self, reply: Message, tree: ObjectTree, *, source: int | None = None, **told: Any
    ) -> PushMessagesResponse:
        """Announce a reply, perhaps as from another node, or with other metadata."""
        proto = message_to_proto(reply)
        proto.metadata.src_node_id = self.node.node_id if source is None else source
        for name, value in told.items():
            setattr(proto.metadata, name, value)
        request = PushMessagesRequest(
            node=self.node, messages_list=[proto], message_object_trees=[tree], clientapp_runtime_list=[0.0]
        )
        return self.client.PushMessages(request)

    def push(self, run_id: int, session: str, name: str, content: bytes) -> None:
        """Send one object of a reply."""
        self.client.PushObject(
            PushObjectRequest(
                node=self.node, run_id=run_id, session_id=session, object_id=name, object_content=content
            )
        )

    def send_objects(self, question: Message, contents: list[bytes]) -> None:
        """Send any objects as an answer, the first as its root."""
        names = [hashlib.sha256(content).hexdigest() for content in contents]
        reply = self.reply(question, RecordDict())
        reply.metadata.__dict__["_message_id"] = names[0]
        tree = ObjectTree(object_id=names[0], children=[ObjectTree(object_id=name) for name in names[1:]])
        begun = self.begin(reply, tree)
        for name, content in zip(names, contents, strict=True):
            self.push(reply.metadata.run_id, begun.session_id, name, content)


@contextmanager
def wire_nodes(server: Deployment, answers: dict[str, Answer]) -> Iterator[dict[str, WireNode]]:
    """Enrol and connect a node for each name, and have all of them leave at the end."""
    nodes: dict[str, WireNode] = {}
    try:
        for name, answer in answers.items():
            if not Path(server.folder / "keys" / name).exists():
                server.enroll(name)
            nodes[name] = WireNode(server, name, answer)
        for node in nodes.values():
            node.peers = nodes
        yield nodes
    finally:
        for node in nodes.values():
            node.stop()
