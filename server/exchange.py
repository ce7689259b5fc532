"""Asking many clients at once, and hearing them in a fixed order as they answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import MessageError, NoAnswer
from common.flower_internals.grid import Interrupted, Replies, Unreadable
from common.messages import describe_request_record, parse_reply
from common.protocol import DescribeRequest, Refusal, Reply

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.05, 0.25, 1.3
"""Seconds between two looks for answers: each costs SuperLink what it lacks for the clients meanwhile."""

_NOTICE_SECONDS = 600.0
"""For how long a notice is delivered."""

WITHOUT_MODEL_BYTES = 64 * 2**20
"""Largest reply, less the arrays of a model: entries of a ledger, some thousand bytes a round."""


@dataclass(frozen=True)
class Question:
    """One message to one node, about one partition (-1 where it is not known yet)."""

    node_id: int
    partition_id: int
    content: RecordDict


def ask(
    grid: Grid,
    kind: str,
    group: str,
    questions: Sequence[Question],
    heard: Callable[[], None] = lambda: None,
    *,
    time_limit: float | None = None,
    most_bytes: int = WITHOUT_MODEL_BYTES,
) -> Iterator[tuple[Question, Reply]]:
    """Send all questions and yield each with its reply, in the order of the questions.

    An answer that comes early waits for its turn, so that sums do not depend on timing. A client that
    fails, cannot be reached, answers in another form than agreed, or not in time, yields a Refusal. What
    comes after its time is never looked at: no later call asks for that answer.

    Args:
        kind: Flower's message type, `train` or `query`.
        group: the round, for Flower's own log.
        heard: called once for every answer, as it arrives.
        time_limit: seconds from now, above 0, for which answers are waited for, and after which Flower
            delivers none of the questions any more; None is for ever.
        most_bytes: largest reply that is read.
    """
    deadline = math.inf if time_limit is None else time.monotonic() + time_limit
    messages = [Message(q.content, q.node_id, kind, group_id=group, ttl=time_limit) for q in questions]
    delivered = set(grid.push_messages(messages))
    ids = [message.metadata.message_id for message in messages]
    waiting = {i: q for i, q in zip(ids, questions, strict=True) if i in delivered}
    early: dict[str, Reply] = {}
    replies, pause = Replies(grid, most_bytes), _FIRST_PAUSE
    for message_id, question in zip(ids, questions, strict=True):
        if message_id not in delivered:
            yield question, _undelivered(question)
            continue
        while message_id not in early:
            over = time.monotonic() >= deadline
            left = max(_FIRST_PAUSE, deadline - time.monotonic())
            arrived = _arrivals(replies, waiting, min(pause, left))
            pause = _FIRST_PAUSE if arrived else min(_GROWTH * pause, _LONGEST_PAUSE)
            early |= arrived
            for _ in arrived:
                heard()
            if over and not arrived:
                break
        yield question, early.pop(message_id, _too_late(question, time_limit))


def notify(grid: Grid, run: str, notices: Mapping[int, str]) -> None:
    """Tell nodes why their answers were not taken, so that it stands in their own logs too.

    Nobody waits for what they say to that.

    Args:
        notices: by node.
    """
    messages = []
    for node, notice in notices.items():
        record = describe_request_record(DescribeRequest(run=run, notice=notice))
        messages.append(Message(record, node, "query", group_id="notice", ttl=_NOTICE_SECONDS))
    if messages:
        grid.push_messages(messages)


def _arrivals(replies: Replies, waiting: dict[str, Question], pause: float) -> dict[str, Reply]:
    """Take the answers that are there off `waiting`; pause when there are none."""
    arrived: dict[str, Reply] = {}
    for answered, message in replies.take(waiting):
        arrived[answered] = _read(message, waiting.pop(answered).partition_id)
    if not arrived:
        time.sleep(pause)
    return arrived


def _undelivered(question: Question) -> Refusal:
    """Say that a node is gone: Flower gives its message no id, and would never give an answer."""
    reason = f"its message could not be delivered: node {question.node_id} is not connected"
    return Refusal(partition_id=question.partition_id, code=NoAnswer.code, reason=reason)


def _too_late(question: Question, time_limit: float | None) -> Refusal:
    reason = f"it did not answer within {time_limit or 0:g} s (federation.round-timeout-seconds)"
    return Refusal(partition_id=question.partition_id, code=NoAnswer.code, reason=reason)


def _read(message: Message | Unreadable, partition_id: int) -> Reply:
    if isinstance(message, Unreadable):
        kind = NoAnswer if isinstance(message, Interrupted) else MessageError
        return Refusal(partition_id=partition_id, code=kind.code, reason=message.reason)
    try:
        return parse_reply(message)
    except MessageError as error:
        return Refusal(partition_id=partition_id, code=error.code, reason=str(error))
