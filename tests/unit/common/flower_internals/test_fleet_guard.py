"""What nodes push, before SuperLink takes it (pinned to flwr 1.41.x): in whose name, and how much."""

from __future__ import annotations

import inspect
import math
import sys
from types import SimpleNamespace

import pytest
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import Message, Metadata, ObjectTree, PushObjectRequest
from flwr.proto.node_pb2 import Node

from common.flower_internals.fleet_guard import (
    MISDEEDS,
    NO_TIME,
    OTHER_NODE,
    TOO_LARGE,
    FleetGuard,
    guard_fleet_api,
)

LIMIT = 100


class Refused(Exception):
    pass


@pytest.fixture
def superlink():
    """A guard before handlers that only note what reaches them."""

    def refuse(status: int, reason: str) -> None:
        raise Refused(status, reason)

    guard, taken, sessions = FleetGuard(LIMIT, refuse), [], iter(range(10**6))

    def messages(request, state):
        taken.append(request)
        return PushMessagesResponse(session_id=f"session-{next(sessions)}")

    def objects(request, state):
        taken.append(request)

    return SimpleNamespace(
        guard=guard,
        taken=taken,
        push=guard.pushing_messages(messages),
        put=guard.pushing_object(objects),
    )


def reply(node: int, *, source: int | None = None, question: str = "question") -> PushMessagesRequest:
    told = Metadata(src_node_id=node if source is None else source, reply_to_message_id=question)
    return PushMessagesRequest(node=Node(node_id=node), messages_list=[Message(metadata=told)])


def piece(node: int, session: str, size: int) -> PushObjectRequest:
    return PushObjectRequest(node=Node(node_id=node), session_id=session, object_content=b"x" * size)


def test_a_reply_in_ones_own_name_passes(superlink):
    assert superlink.push(request=reply(7), state=None).session_id == "session-0"
    assert len(superlink.taken) == 1


@pytest.mark.parametrize(
    "forged",
    [
        reply(7, source=8),
        reply(7, source=1),  # SuperLink's own
        reply(7, source=1, question=""),  # an order to another node, in the server's name
        reply(7, question=""),
    ],
)
def test_a_message_in_another_name_or_of_ones_own_accord_is_refused(superlink, forged):
    with pytest.raises(Refused, match=f"403.*{OTHER_NODE}"):
        superlink.push(request=forged, state=None)
    both = reply(7)
    both.messages_list.extend(forged.messages_list)
    with pytest.raises(Refused, match="403"):
        superlink.push(request=both, state=None)
    assert superlink.taken == []


@pytest.mark.parametrize("field", ["created_at", "ttl"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_reply_without_a_time_is_refused(superlink, field, value):
    odd = reply(7)
    setattr(odd.messages_list[0].metadata, field, value)
    with pytest.raises(Refused, match=f"403.*{NO_TIME}"):
        superlink.push(request=odd, state=None)
    assert superlink.taken == []


def test_a_reply_in_pieces_is_refused_once_they_are_too_large_together(superlink):
    session = superlink.push(request=reply(7), state=None).session_id
    for _ in range(4):
        superlink.put(request=piece(7, session, 25), state=None)
    with pytest.raises(Refused, match=f"413.*{TOO_LARGE}"):
        superlink.put(request=piece(7, session, 1), state=None)
    assert len(superlink.taken) == 5


def test_a_reply_of_very_many_parts_is_refused_before_superlink_walks_them(superlink):
    many = reply(7)
    for parts, refused in ((10_000, False), (10_001, True)):
        del many.message_object_trees[:]
        many.message_object_trees.append(ObjectTree(object_id="a"))
        many.message_object_trees[0].children.extend(ObjectTree(object_id="b") for _ in range(parts - 1))
        if refused:
            with pytest.raises(Refused, match="413"):
                superlink.push(request=many, state=None)
        else:
            superlink.push(request=many, state=None)
    assert len(superlink.taken) == 1


def test_begun_again_a_reply_counts_on_and_the_next_one_anew(superlink):
    first = superlink.push(request=reply(7), state=None).session_id
    superlink.put(request=piece(7, first, 60), state=None)
    again = superlink.push(request=reply(7), state=None).session_id
    other = superlink.push(request=reply(7, question="next"), state=None).session_id
    superlink.put(request=piece(7, other, LIMIT), state=None)
    for session in (first, again):
        with pytest.raises(Refused, match="413"):
            superlink.put(request=piece(7, session, 60), state=None)


def test_sessions_that_nobody_began_count_together_for_each_node(superlink):
    superlink.put(request=piece(7, "x", 60), state=None)
    superlink.put(request=piece(8, "x", 60), state=None)
    with pytest.raises(Refused, match="413"):
        superlink.put(request=piece(7, "", 60), state=None)


def test_old_sessions_are_forgotten_but_not_what_their_question_has_had(superlink, monkeypatch):
    monkeypatch.setattr(FleetGuard, "_MOST_SESSIONS", 2)
    first = superlink.push(request=reply(7), state=None).session_id
    superlink.put(request=piece(7, first, 60), state=None)
    last = [superlink.push(request=reply(7), state=None).session_id for _ in range(3)][-1]
    with pytest.raises(Refused, match="413"):
        superlink.put(request=piece(7, last, 60), state=None)
    assert len(superlink.guard._question) == 2


def test_flower_asks_its_handlers_by_module_and_name_and_after_it_knows_the_node(monkeypatch):
    from flwr.superlink import main
    from flwr.superlink.routers.fleet import node_auth
    from flwr.superlink.servicer.fleet import fleet_handlers

    __import__("flwr.superlink.routers.fleet.router")
    router = sys.modules["flwr.superlink.routers.fleet.router"]
    for name in ("push_messages", "push_object"):
        handler = getattr(fleet_handlers, name)
        assert list(inspect.signature(handler).parameters) == ["request", "state"]
        assert f"fleet_handlers.{name}(request=request, state=state)" in inspect.getsource(router)
        monkeypatch.setattr(fleet_handlers, name, handler)
    assert router.fleet_handlers is fleet_handlers
    assert "Middleware(NodeAuthMiddleware)" in inspect.getsource(main._get_middleware)
    source = inspect.getsource(node_auth.authenticate_node)
    assert "get_node_id_by_public_key(public_key) != node_id" in source
    assert next(text for text in MISDEEDS if text.startswith("Invalid")) in source
    before = fleet_handlers.push_messages
    guard_fleet_api(LIMIT)
    assert fleet_handlers.push_messages is not before
    from fastapi import HTTPException

    with pytest.raises(HTTPException, match=OTHER_NODE):
        fleet_handlers.push_messages(request=reply(7, source=8), state=None)
