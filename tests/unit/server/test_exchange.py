"""Asking many clients: replies in a fixed order, whatever becomes of them."""

from __future__ import annotations

import itertools

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.serverapp import Grid

from common.messages import reply_record
from common.protocol import Refusal
from server import exchange
from server.exchange import Question, ask

pytestmark = pytest.mark.usefixtures("flower_identity")


class ScriptedGrid(Grid):
    """Hands out replies as a script says: one list of node numbers a pull.

    Args:
        script: what each pull brings; after its end, nothing.
        lost: nodes to which nothing can be delivered.
        named: whether an undelivered message has an empty id (else its id is left out).
    """

    run = None

    def __init__(self, script, *, lost=(), named=True):
        self.script = list(script)
        self.lost = set(lost)
        self.named = named
        self.sent = []
        self.pulls = 0

    def push_messages(self, messages):
        ids = []
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = f"id-{number}"
            self.sent.append(message)
            if message.metadata.dst_node_id not in self.lost:
                ids.append(f"id-{number}")
            elif self.named:
                ids.append("")
        return ids

    def pull_messages(self, message_ids):
        self.pulls += 1
        if self.pulls > 20:
            pytest.fail("waits for ever")
        assert all(message_ids)
        nodes = self.script.pop(0) if self.script else []
        return [self.reply(node) for node in nodes]

    def reply(self, node, code="ok"):
        question = next(m for m in self.sent if m.metadata.dst_node_id == node)
        return Message(
            reply_record(Refusal(partition_id=77, code=code, reason=f"from {node}")), reply_to=question
        )

    def get_node_ids(self):
        return []

    def set_run(self, run):
        pass

    def create_message(self, *args, **kwargs):
        raise NotImplementedError

    def send_and_receive(self, *args, **kwargs):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    taken = []
    monkeypatch.setattr(exchange.time, "sleep", taken.append)
    return taken


def questions(*nodes):
    return [Question(node, node - 10, RecordDict({"c": ConfigRecord({"n": node})})) for node in nodes]


def replies(grid, *nodes):
    return [
        (question.node_id, reply.reason) for question, reply in ask(grid, "train", "1", questions(*nodes))
    ]


@pytest.mark.parametrize("order", list(itertools.permutations((11, 12, 13))))
def test_replies_come_in_the_order_of_the_questions(order):
    one_by_one = ScriptedGrid([[node] for node in order])
    at_once = ScriptedGrid([order])
    expected = [(11, "from 11"), (12, "from 12"), (13, "from 13")]
    assert replies(one_by_one, 11, 12, 13) == replies(at_once, 11, 12, 13) == expected


def test_an_early_reply_waits_and_a_late_one_is_not_waited_for_before_its_turn(pauses):
    grid = ScriptedGrid([[13], [], [11], [12]])
    heard = []
    answers = ask(grid, "train", "1", questions(11, 12, 13), lambda: heard.append(grid.pulls))
    assert next(answers)[0].node_id == 11
    assert grid.pulls == 3
    assert heard == [1, 3], "each answer is heard as it arrives, in whatever order"
    assert [question.node_id for question, _ in answers] == [12, 13]
    assert heard == [1, 3, 4]
    assert grid.pulls == 4, "13 was there already"
    assert len(pauses) == 1, "pauses only when nothing has come"


def test_each_question_reaches_its_node_as_asked():
    grid = ScriptedGrid([[12, 11]])
    replies(grid, 11, 12)
    assert [m.metadata.dst_node_id for m in grid.sent] == [11, 12]
    assert [m.content["c"]["n"] for m in grid.sent] == [11, 12]
    assert {m.metadata.message_type for m in grid.sent} == {"train"}
    assert {m.metadata.group_id for m in grid.sent} == {"1"}


def test_no_questions_no_answers():
    grid = ScriptedGrid([])
    assert replies(grid) == []
    assert grid.pulls == 0


def test_a_second_answer_and_an_answer_to_nobody_are_ignored():
    grid = ScriptedGrid([[11, 11], [11, 12]])
    stranger = Message(RecordDict(), dst_node_id=1, message_type="train")
    stranger.metadata.__dict__["_reply_to_message_id"] = "id-of-nobody"
    reply = grid.reply
    grid.reply = lambda node: stranger if node == 99 else reply(node)
    grid.script.insert(0, [99])
    heard = []
    answers = list(ask(grid, "train", "1", questions(11, 12), lambda: heard.append(1)))
    assert [(q.node_id, r.reason) for q, r in answers] == [(11, "from 11"), (12, "from 12")]
    assert len(heard) == 2


def test_a_failed_or_malformed_answer_is_a_refusal_of_the_client_that_was_asked():
    grid = ScriptedGrid([[11, 12, 13]])
    honest = grid.reply

    def reply(node):
        question = honest(node)
        if node == 11:
            return Message(Error(code=3, reason="patient Smith"), reply_to=grid.sent[0])
        if node == 12:
            return Message(RecordDict(), reply_to=grid.sent[1])
        return question

    grid.reply = reply
    first, second, third = [reply for _, reply in ask(grid, "train", "1", questions(11, 12, 13))]
    assert (first.partition_id, first.code) == (1, "no-answer")
    assert "in time" in first.reason
    assert "Smith" not in first.reason
    assert (second.partition_id, second.code) == (2, "message")
    assert third == Refusal(partition_id=77, code="ok", reason="from 13")


@pytest.mark.parametrize("named", [True, False])
def test_a_message_that_cannot_be_delivered_is_not_waited_for(named):
    grid = ScriptedGrid([[13], [11]], lost=[12], named=named)
    first, second, third = [reply for _, reply in ask(grid, "train", "1", questions(11, 12, 13))]
    assert (first.reason, third.reason) == ("from 11", "from 13")
    assert (second.partition_id, second.code) == (2, "no-answer")
    assert "could not be delivered" in second.reason
    assert grid.pulls == 2


class Clock:
    """A clock that a pause moves on, and nothing else."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(exchange.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(exchange.time, "sleep", self.pause)

    def pause(self, seconds):
        self.now += seconds


def test_the_others_are_heard_when_one_does_not_answer_in_time(monkeypatch):
    clock = Clock(monkeypatch)
    grid = ScriptedGrid([[13], [12]])
    answers = list(ask(grid, "train", "1", questions(11, 12, 13), time_limit=0.2))
    first, second, third = [reply for _, reply in answers]
    assert (first.partition_id, first.code) == (1, "no-answer")
    assert "did not answer within 0.2 s" in first.reason
    assert (second.reason, third.reason) == ("from 12", "from 13")
    assert 100.2 <= clock.now < 100.3


def test_what_is_there_when_the_time_ends_still_counts(monkeypatch):
    clock = Clock(monkeypatch)
    grid = ScriptedGrid([[], [], [11], [12]])
    heard = [reply for _, reply in ask(grid, "train", "1", questions(11, 12), time_limit=0.09)]
    assert [reply.reason for reply in heard] == ["from 11", "from 12"]
    assert clock.now > 100.09


def test_a_late_answer_to_an_earlier_round_is_no_answer_to_a_later_one(monkeypatch):
    Clock(monkeypatch)
    grid = ScriptedGrid([])
    first = questions(11)
    assert "did not answer" in next(ask(grid, "train", "1", first, time_limit=0.1))[1].reason
    late = grid.reply(11)
    late.metadata.__dict__["_reply_to_message_id"] = "id-of-round-1"
    honest, grid.reply = grid.reply, lambda node: late if node == 99 else honest(node)
    grid.sent, grid.pulls, grid.script = [], 0, [[99], [99, 11]]
    answers = list(ask(grid, "train", "2", questions(11), time_limit=10))
    assert [(question.node_id, reply.reason) for question, reply in answers] == [(11, "from 11")]
    assert grid.pulls == 2


def test_flower_delivers_no_question_after_its_time():
    grid = ScriptedGrid([[11]])
    list(ask(grid, "train", "1", questions(11), time_limit=7.5))
    assert grid.sent[0].metadata.ttl == 7.5
