"""What nodes send that want to stop a run, stand in for others, or fill the server, on Flower's wire."""

from __future__ import annotations

import hashlib
import math
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
from flwr.app import Message, RecordDict
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import DeactivateNodeRequest, PullMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.inflatable.inflatable_object import get_object_tree

from tests.small_federation import Change
from tests.wire_nodes import WireNode

MIB = 2**20
GB = 10**9
PIECE = 8 * MIB


def by_round(*tricks: Change) -> Change:
    """Return what does another trick in each round, and is honest once there are no more."""

    def change(client, request, update):
        if request.round > len(tricks):
            return client.updated(request, update.arrays)
        return tricks[request.round - 1](client, request, update)

    return change


def status_of(send: Callable[[], Any]) -> int:
    """Return the status with which a request is refused, 200 if it is not."""
    try:
        send()
    except httpx.HTTPStatusError as error:
        return error.response.status_code
    return 200


def honest(client, request, update):
    """Answer as a client that keeps its books."""
    return client.updated(request, update.arrays)


def undecodable(client, request, update):
    """Answer with bytes that Flower takes and cannot decode."""
    return lambda node, question: node.send_objects(question, [b"Message  4\x00\xff\xff\xff\xff"])


def in_pieces(client, request, update):
    """Announce a reply of 1 GB, in pieces, and send those until the server has seen enough."""

    def send(node: WireNode, question: Message) -> None:
        heads = [b"ArrayChunk  %d\x00" % PIECE + bytes([number]) * PIECE for number in range(10)]
        names = [hashlib.sha256(head).hexdigest() for head in heads]
        never = ["f" * 56 + f"{number:08x}" for number in range(GB // PIECE - len(heads))]
        reply = node.reply(question, RecordDict())
        reply.metadata.__dict__["_message_id"] = names[0]
        children = [ObjectTree(object_id=name) for name in (*names[1:], *never)]
        begun = node.begin(reply, ObjectTree(object_id=names[0], children=children))
        for name, head in zip(names, heads, strict=True):
            node.push(reply.metadata.run_id, begun.session_id, name, head)

    return send


def in_one_body(client, request, update):
    """Send 1 GB in one body, note the answer, then answer honestly."""

    def send(node: WireNode, question: Message) -> None:
        node.noted["one body"] = _say_much(node)
        node.send(question, client.updated(request, update.arrays))

    return send


def _say_much(node: WireNode) -> int:
    """Announce 1 GB and send some of it; return the answer's status."""
    host, _, port = node.address.rpartition(":")
    signed = httpx.Request("POST", "https://x/", headers={"content-type": "application/protobuf"})
    lines = [b"POST /v1/fleet/push-object HTTP/1.1", b"Host: x", b"Content-Length: %d" % GB]
    lines += [
        b"%s: %s" % header
        for header in node.signed(signed).raw
        if header[0].lower().startswith((b"flwr-", b"content-type"))
    ]
    context = ssl.create_default_context(cafile=node.authority)
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(MIB))
        return int(connection.recv(65536)[9:12])


def never_whole(client, request, update):
    """Announce a reply, and never send its parts."""

    def send(node: WireNode, question: Message) -> None:
        reply = node.reply(question, client.updated(request, update.arrays))
        node.begin(reply, get_object_tree(reply))

    return send


def at_no_time(client, request, update):
    """Claim to have answered at no time at all, then answer honestly."""

    def send(node: WireNode, question: Message) -> None:
        reply = node.reply(question, RecordDict())
        node.noted["no time"] = status_of(
            lambda: node.begin(reply, get_object_tree(reply), created_at=math.nan)
        )
        node.send(question, client.updated(request, update.arrays))

    return send


def in_anothers_name(client, request, update):
    """Speak as another node in every way there is, give it an order in the server's name, then be honest."""

    def send(node: WireNode, question: Message) -> None:
        other = node.peers["site-a"].node.node_id
        honest = node.reply(question, client.updated(request, update.arrays))
        tree = get_object_tree(honest)
        node.noted["as another"] = status_of(lambda: node.begin(honest, tree, source=other))
        order = {"dst_node_id": other, "reply_to_message_id": "", "message_type": "train"}
        node.noted["as the server"] = status_of(lambda: node.begin(honest, tree, source=1, **order))
        for name, one in _requests_of(other, honest.metadata.run_id).items():
            node.noted[name] = status_of(lambda one=one: one(node.client))
        node.send(question, honest)

    return send


def _requests_of(other: int, run_id: int) -> dict[str, Callable[[Any], Any]]:
    """Return every request that names a node, in the name of another."""
    node = Node(node_id=other)
    of = {"node": node, "run_id": run_id}
    return {
        "pull-messages": lambda c: c.PullMessages(PullMessagesRequest(node=node)),
        "send-node-heartbeat": lambda c: c.SendNodeHeartbeat(
            SendNodeHeartbeatRequest(node=node, heartbeat_interval=30)
        ),
        "deactivate-node": lambda c: c.DeactivateNode(DeactivateNodeRequest(node_id=other)),
        "get-run": lambda c: c.GetRun(GetRunRequest(**of)),
        "get-fab": lambda c: c.GetFab(GetFabRequest(**of, hash_str="0" * 64)),
        "push-object": lambda c: c.PushObject(PushObjectRequest(**of, object_id="0" * 64)),
        "pull-object": lambda c: c.PullObject(PullObjectRequest(**of, object_id="0" * 64)),
        "confirm-message-received": lambda c: c.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(**of, message_object_id="0" * 64)
        ),
    }


def replaying() -> Change:
    """Return what answers each round with the update of the first."""
    kept: list[Any] = []

    def change(client, request, update):
        if not kept:
            kept.append(client.updated(request, update.arrays))
            return kept[0]
        return replace(kept[0], ledger_lines=())

    return change
