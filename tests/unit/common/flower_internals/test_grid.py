"""Replies read one by one from Flower's grid (pinned to flwr 1.41.x), whatever nodes have put there."""

from __future__ import annotations

import hashlib
import inspect
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import import_module
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.runtime_pb2 import GetNodesResponse, PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.run import Run
from flwr.superlink.grid import HttpGrid

from common.flower_internals.grid import Interrupted, Replies, Unreadable

pytestmark = pytest.mark.usefixtures("flower_identity")

LIMIT = 10_000


@dataclass
class MadeUpSuperLink:
    """Holds replies and their objects; each reply is handed out once, as by SuperLink."""

    objects: dict[str, bytes] = field(default_factory=dict)
    replies: list = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    nodes: set[int] = field(default_factory=lambda: {11, 12})
    pulled: int = 0

    def PullMessages(self, request):  # noqa: N802 - as Flower names it
        due = [r for r in self.replies if r[0].metadata.reply_to_message_id in request.message_ids]
        self.replies = [r for r in self.replies if r not in due]
        return PullAppMessagesResponse(
            messages_list=[m for m, _ in due], message_object_trees=[t for _, t in due]
        )

    def PullObject(self, request):  # noqa: N802 - as Flower names it
        self.pulled += 1
        content = self.objects.get(request.object_id, b"")
        found = request.object_id not in self.lost
        return PullObjectResponse(object_found=found, object_available=bool(content), object_content=content)

    def GetNodes(self, _):  # noqa: N802 - as Flower names it
        return GetNodesResponse(nodes=[NodeInfo(node_id=node) for node in self.nodes])

    def ConfirmMessageReceived(self, request):  # noqa: N802 - as Flower names it
        self.confirmed.append(request.message_object_id)


@pytest.fixture
def superlink():
    return MadeUpSuperLink()


@pytest.fixture
def grid(superlink):
    made = HttpGrid(token="t")
    made._client = superlink
    made._run = Run(**dict.fromkeys(list(inspect.signature(Run).parameters)) | {"run_id": 5})
    return made


def question(node: int) -> Message:
    asked = Message(RecordDict(), dst_node_id=node, message_type="query")
    asked.metadata.__dict__["_message_id"] = hashlib.sha256(f"question to {node}".encode()).hexdigest()
    return asked


ONE, TWO = hashlib.sha256(b"question to 11").hexdigest(), hashlib.sha256(b"question to 12").hexdigest()


def answer(superlink, node: int, *, text: str = "fine", said_to_answer: str = "") -> str:
    """Put a reply there and return its id; `said_to_answer` is what SuperLink was told outside of it."""
    reply = Message(RecordDict({"fields": ConfigRecord({"text": text})}), reply_to=question(node))
    reply.metadata.__dict__["_message_id"] = reply.object_id
    tree = get_object_tree(reply)
    superlink.objects |= {name: part.deflate() for name, part in get_all_nested_objects(reply).items()}
    outside = message_to_proto(reply)
    if said_to_answer:
        outside.metadata.reply_to_message_id = said_to_answer
    superlink.replies.append((outside, tree))
    return str(reply.metadata.message_id)


def put(superlink, node: int, contents: list[bytes]) -> None:
    """Put a reply there of any objects, the first of which is its root."""
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    superlink.objects |= dict(zip(names, contents, strict=True))
    outside = message_to_proto(Message(RecordDict(), reply_to=question(node)))
    outside.metadata.message_id = names[0]
    outside.metadata.src_node_id = node
    tree = ObjectTree(object_id=names[0], children=[ObjectTree(object_id=name) for name in names[1:]])
    superlink.replies.append((outside, tree))


def test_replies_come_with_their_questions_and_are_confirmed(superlink, grid):
    ids = [answer(superlink, 11, text="a"), answer(superlink, 12, text="b")]
    taken = dict(Replies(grid, LIMIT).take([ONE, TWO]))
    assert [taken[q].content["fields"]["text"] for q in (ONE, TWO)] == ["a", "b"]
    assert superlink.confirmed == ids


def head(kind: str, children: str, body: bytes) -> bytes:
    return f"{kind} {children} {len(body)}".encode() + b"\x00" + body


@pytest.mark.parametrize(
    "contents",
    [
        [b"garbage"],
        [b"\x00"],
        [b"\x00" * 100],
        [head("Message", "", b"\xff\xff\xff")],
        [head("Message", "", b"")],
        [head("Message", "ab" * 32, b"")],
        [head("RecordDict", "", b"{}")],
        [head("RecordDict", "", b"[" * 5000)],
        [head("Nothing", "", b"")],
        [head("Array", "", b"{")],
        ["Message \ud800".encode("utf-8", "surrogatepass") + b"\x00"],
    ],
)
def test_bytes_that_flower_cannot_decode_cost_only_their_own_reply(superlink, grid, contents):
    put(superlink, 11, contents)
    answer(superlink, 12)
    taken = dict(Replies(grid, LIMIT).take([ONE, TWO]))
    assert isinstance(taken[ONE], Unreadable)
    assert taken[ONE].reason in ("its reply cannot be decoded", "its reply is no message")
    assert taken[TWO].content["fields"]["text"] == "fine"


def test_a_reply_that_is_never_whole_keeps_nobody_waiting(superlink, grid):
    put(superlink, 11, [b"first", b"second"])
    missing = hashlib.sha256(b"second").hexdigest()
    content = superlink.objects.pop(missing)
    replies = Replies(grid, LIMIT)
    assert list(replies.take([ONE, TWO])) == []
    answer(superlink, 12)
    assert [q for q, _ in replies.take([ONE, TWO])] == [TWO]
    before = superlink.pulled
    assert list(replies.take([ONE])) == []
    assert superlink.pulled == before + 1, "what is here already is not asked for again"
    superlink.objects[missing] = content
    assert dict(replies.take([ONE])) == {ONE: Unreadable("its reply cannot be decoded")}


def test_a_reply_of_which_a_part_is_lost_is_given_up(superlink, grid):
    put(superlink, 11, [b"first", b"second"])
    superlink.lost.add(hashlib.sha256(b"second").hexdigest())
    del superlink.objects[hashlib.sha256(b"second").hexdigest()]
    assert dict(Replies(grid, LIMIT).take([ONE])) == {ONE: Interrupted("a part of its reply is lost")}


def test_a_reply_whose_node_was_shut_out_in_its_midst_is_given_up(superlink, grid, monkeypatch):
    monkeypatch.setattr("common.flower_internals.grid._NODES_SECONDS", 0.0)
    put(superlink, 11, [b"first", b"second"])
    del superlink.objects[hashlib.sha256(b"second").hexdigest()]
    replies = Replies(grid, LIMIT)
    assert [list(replies.take([ONE])) for _ in range(3)] == [[], [], []], "its node is connected"
    superlink.nodes.remove(11)
    assert dict(replies.take([ONE])) == {ONE: Interrupted("its connection ended in the midst of its reply")}
    assert len(superlink.confirmed) == 1, "SuperLink may forget it"


def test_a_reply_that_was_whole_when_its_node_left_is_taken(superlink, grid, monkeypatch):
    monkeypatch.setattr("common.flower_internals.grid._NODES_SECONDS", 0.0)
    answer(superlink, 11)
    last = next(iter(superlink.objects))
    content = superlink.objects.pop(last)
    replies = Replies(grid, LIMIT)
    assert list(replies.take([ONE])) == []
    superlink.objects[last] = content
    superlink.nodes.clear()
    assert dict(replies.take([ONE]))[ONE].content["fields"]["text"] == "fine"


def test_a_reply_that_is_too_large_is_not_read_to_its_end(superlink, grid):
    put(superlink, 11, [bytes([n]) * 1000 for n in range(200)])
    assert dict(Replies(grid, LIMIT).take([ONE])) == {ONE: Unreadable("its reply is larger than 10000 bytes")}
    assert superlink.pulled <= 14
    assert len(superlink.confirmed) == 1, "SuperLink may forget it"


def test_a_reply_of_too_many_parts_is_not_begun(superlink, grid, monkeypatch):
    monkeypatch.setattr("common.flower_internals.grid._MOST_OBJECTS", 3)
    put(superlink, 11, [b"1", b"2", b"3", b"4"])
    assert dict(Replies(grid, LIMIT).take([ONE])) == {ONE: Unreadable("its reply has more than 3 parts")}
    assert superlink.pulled == 0


def test_a_reply_cannot_pass_for_one_to_another_question(superlink, grid):
    answer(
        superlink, 12, said_to_answer=ONE
    )  # SuperLink knows that it comes from the node of the first question
    answer(superlink, 12)
    taken = dict(Replies(grid, LIMIT).take([ONE, TWO]))
    assert taken[ONE] == Unreadable("its reply claims to answer another question")
    assert taken[TWO].content["fields"]["text"] == "fine"


def test_only_what_was_asked_for_is_handed_out(superlink, grid):
    answer(superlink, 11)
    assert list(Replies(grid, LIMIT).take([TWO])) == []
    superlink.PullMessages = lambda _: MadeUpSuperLink.PullMessages(
        superlink, SimpleNamespace(message_ids=[ONE, TWO])
    )
    assert list(Replies(grid, LIMIT).take([TWO])) == []


def test_flowers_grid_has_the_names_that_are_used():
    source = inspect.getsource(HttpGrid)
    for used in (
        "_runtime_client.PullMessages",
        "_runtime_client.PullObject",
        "_runtime_client.GetNodes",
        "ConfirmMessageReceived",
        "self.node",
    ):
        assert used in source
    assert isinstance(inspect.getattr_static(HttpGrid, "_runtime_client"), property)
    assert isinstance(inspect.getattr_static(HttpGrid, "run"), property)


def test_the_grid_of_a_real_run_is_found_where_it_is_looked_for():
    import_module("flwr.superlink.runtime")
    app = sys.modules["flwr.superlink.runtime.run_serverapp"]
    assert "from flwr.superlink.grid import HttpGrid" in inspect.getsource(app)
    assert HttpGrid is sys.modules["flwr.superlink.grid"].HttpGrid


def test_a_simulation_does_not_load_what_speaks_http():
    code = (
        "import sys; from common.flower_internals.grid import _as_http; "
        "assert _as_http(object()) is None; assert 'flwr.superlink.grid' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
