from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from simulations.grid import InProcessGrid

NODES = range(2, 8)


def context(node_id: int) -> Context:
    return Context(run_id=1, node_id=node_id, node_config={}, state=RecordDict(), run_config={})


def grid_of(train, workers: int = 2) -> InProcessGrid:
    app = ClientApp()
    app.train()(train)
    return InProcessGrid(app, node_ids=NODES, make_context=context, workers=workers)


def content() -> RecordDict:
    return RecordDict(
        {"a": ArrayRecord({"w": Array(np.zeros(3, dtype=np.float32))}), "c": ConfigRecord({"x": 1})}
    )


def spoil(message: Message, ctx: Context) -> Message:
    seen = message.content["c"]["x"], message.content["a"]["w"].numpy().sum()
    message.content["c"]["x"] = 99
    message.content["a"]["w"] = Array(np.ones(3, dtype=np.float32))
    reply = RecordDict({"seen": ConfigRecord({"x": seen[0], "w": float(seen[1]), "node": ctx.node_id})})
    return Message(reply, reply_to=message)


def test_a_client_that_changes_its_message_changes_nobody_elses():
    shared = content()
    with grid_of(spoil, workers=1) as grid:
        messages = [grid.create_message(shared, "train", node, "1") for node in grid.get_node_ids()]
        replies = list(grid.send_and_receive(messages))
    assert [reply.content["seen"]["x"] for reply in replies] == [1] * len(NODES)
    assert [reply.content["seen"]["w"] for reply in replies] == [0.0] * len(NODES)
    assert shared["c"]["x"] == 1


def test_every_reply_names_its_question_and_its_node():
    with grid_of(spoil) as grid:
        messages = [grid.create_message(content(), "train", node, "1") for node in NODES]
        ids = list(grid.push_messages(messages))
        replies = []
        while len(replies) < len(ids):
            replies += grid.pull_messages(ids)
        assert list(grid.pull_messages(ids)) == []
    by_question = {reply.metadata.reply_to_message_id: reply for reply in replies}
    assert set(by_question) == set(ids)
    for message_id, node in zip(ids, NODES, strict=True):
        assert by_question[message_id].metadata.src_node_id == node
        assert by_question[message_id].content["seen"]["node"] == node


def test_an_exception_becomes_an_error_reply_without_its_text():
    def fail(message: Message, ctx: Context) -> Message:
        raise ValueError("record 17 shows patient Smith")

    with grid_of(fail) as grid:
        (reply,) = grid.send_and_receive([grid.create_message(content(), "train", 2, "1")])
    assert reply.has_error()
    assert "Smith" not in reply.error.reason
    assert reply.error.reason == "ValueError"


@pytest.mark.parametrize("workers", [1, 3])
def test_at_most_that_many_clients_run_at_a_time(workers):
    running, most, lock = [0], [0], threading.Lock()

    def train(message: Message, ctx: Context) -> Message:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1
        return Message(content(), reply_to=message)

    with grid_of(train, workers=workers) as grid:
        list(grid.send_and_receive([grid.create_message(content(), "train", node, "1") for node in NODES]))
    assert most[0] == workers


def test_a_nodes_context_is_kept_between_messages():
    def count(message: Message, ctx: Context) -> Message:
        seen = ctx.state["n"]["n"] if "n" in ctx.state else 0
        ctx.state["n"] = ConfigRecord({"n": seen + 1})
        return Message(RecordDict({"n": ConfigRecord({"n": seen + 1})}), reply_to=message)

    with grid_of(count) as grid:
        for expected in (1, 2, 3):
            (reply,) = grid.send_and_receive([grid.create_message(content(), "train", 3, "1")])
            assert reply.content["n"]["n"] == expected


def test_a_timeout_returns_what_is_there():
    release = threading.Event()

    def train(message: Message, ctx: Context) -> Message:
        if ctx.node_id == 2:
            release.wait(10)
        return Message(content(), reply_to=message)

    with grid_of(train) as grid:
        messages = [grid.create_message(content(), "train", node, "1") for node in NODES]
        replies = list(grid.send_and_receive(messages, timeout=0.5))
        release.set()
    assert {reply.metadata.src_node_id for reply in replies} == set(NODES) - {2}
