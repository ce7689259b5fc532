"""The observer that writes a log line a round."""

from __future__ import annotations

import contextvars
import logging
from dataclasses import replace

import pytest

from common.protocol import Refusal
from server.observer import OBSERVER, RunObserver
from server.state import RoundOutcome, RunState
from tests.small_federation import MODEL

STATE = RunState(run="run", round=3, arrays=MODEL, velocity=MODEL)
OUTCOME = RoundOutcome(
    round=3,
    updates={0: "a", 2: "b"},
    refused=(Refusal(partition_id=1, code="message", reason="odd"),),
    input_model="x",
    model="y",
    metrics={"accuracy": 0.123456},
    seconds=1.0,
)


@pytest.fixture
def observer(caplog) -> RunObserver:
    caplog.set_level(logging.INFO, logger="watched")
    return RunObserver(logging.getLogger("watched"))


def test_each_round_is_one_line(observer, caplog):
    observer.round_started(3, 3)
    observer.client_answered()
    assert caplog.messages == []
    observer.round_finished(STATE, OUTCOME)
    assert caplog.messages == ["round 3: accuracy 0.1235, 2 took part, 1 did not"]


def test_who_did_not_join_is_a_warning(observer, caplog):
    observer.joined(STATE, ["client 4 did not join: no images"])
    assert caplog.messages == ["0 clients joined; 3 rounds are done", "client 4 did not join: no images"]
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_the_end_says_why(observer, caplog):
    observer.ended(replace(STATE, ended="enough"), can_go_on=False)
    assert caplog.messages == ["the run is over after round 3: enough"]


def test_it_never_asks_to_stop():
    assert not RunObserver().stop_requested


def test_an_observer_belongs_to_its_context():
    assert OBSERVER.get(None) is None
    mine = RunObserver()

    def inside() -> RunObserver:
        OBSERVER.set(mine)
        return OBSERVER.get()

    assert contextvars.copy_context().run(inside) is mine
    assert OBSERVER.get(None) is None
