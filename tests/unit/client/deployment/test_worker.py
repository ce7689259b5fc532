"""The worker's answer to each kind of message: its own app's, or a typed refusal."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from client.deployment.bundle import BundleJudge
from client.deployment.local_api import Task
from client.deployment.own_site import OwnSite
from client.deployment.worker import Worker
from client.site import OWN_SITE
from common.arrays import digest
from common.config import TrainingSettings
from common.flower_internals.bundle import build_bundle
from common.messages import describe_request_record, parse_reply, train_request_record
from common.models import initial_arrays
from common.protocol import DescribeRequest, Description, Proposal, Refusal, TrainRequest, Update
from tests.unit.client.deployment.test_bundle import HOSTILE, changed
from tests.unit.client.deployment.test_own_site import facts, images  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("flower_identity")

OWN = build_bundle()
PROPOSAL = Proposal(
    training=TrainingSettings(sample_rate=0.2),
    private=True,
    max_grad_norm=1.0,
    noise_multiplier=2.0,
    target_epsilon=None,
    planned_rounds=3,
)


@pytest.fixture
def site(facts) -> OwnSite:  # noqa: F811
    return OwnSite(facts())


@pytest.fixture
def worker(site) -> Worker:
    judge = BundleJudge(frozenset({"installed"}))
    return Worker(front=SimpleNamespace(), judge=judge, site=site, number=7)


def task(
    content: RecordDict,
    kind: str,
    *,
    bundle: bytes = OWN,
    is_for_clients: bool = True,
    group: str = "",
    **settings,
):
    message = Message(content, dst_node_id=3, message_type=kind, group_id=group)
    message.metadata.__dict__["_message_id"] = "question"
    run_config = {"model.name": "cnn", **settings}
    context = Context(
        run_id=1,
        node_id=3,
        node_config={"partition-id": 99},
        state=RecordDict(),
        run_config=run_config,
    )
    return Task(message=message, context=context, bundle=bundle, is_for_clients=is_for_clients)


def train(number: int = 1, **changes) -> RecordDict:
    request = TrainRequest(
        run="run",
        round=number,
        arrays=initial_arrays("cnn", num_classes=2, seed=0),
        proposal=replace(PROPOSAL, **changes),
        server_nonce=f"{number:064x}",
        known_entries=1,
    )
    return train_request_record(request)


DESCRIBE = describe_request_record(DescribeRequest(run="run"))


def test_it_answers_with_its_own_app_and_number(worker):
    description = parse_reply(worker.answer(task(DESCRIBE, "query")))
    assert isinstance(description, Description)
    assert (description.partition_id, description.num_examples) == (7, 48)
    update = parse_reply(worker.answer(task(train(), "train")))
    assert isinstance(update, Update)
    assert len(update.ledger_lines) == 2


def test_the_same_request_again_gets_the_same_answer(worker, site):
    first = parse_reply(worker.answer(task(train(), "train")))
    again = parse_reply(worker.answer(task(train(), "train")))
    assert digest(first.arrays) == digest(again.arrays)
    assert first.ledger_lines == again.ledger_lines
    assert len(site.ledger.view.entries) == 3


@pytest.mark.parametrize("kind", ["query", "train"])
def test_a_server_with_other_code_gets_a_refusal_and_no_line_of_it_runs(worker, site, kind):
    bundle = changed(OWN, client__app_dot_py=HOSTILE)
    content = DESCRIBE if kind == "query" else train()
    reply = parse_reply(worker.answer(task(content, kind, bundle=bundle)))
    assert isinstance(reply, Refusal)
    assert (reply.partition_id, reply.code) == (7, "policy-refused")
    assert "client/app.py differs" in reply.reason
    assert "hostile_was_here" not in sys.modules
    assert len(site.ledger.view.entries) == 1


@pytest.mark.parametrize(
    ("proposal", "words"),
    [
        ({"noise_multiplier": 0.0}, "noise multiplier 0 is below its policy's 0.8"),
        ({"max_grad_norm": 1e9}, "a clip of 1e+09"),
        (
            {"training": TrainingSettings(sample_rate=0.2, local_steps=1_000_000)},
            "1000000 steps a round are above its policy's 10",
        ),
        ({"private": False}, "unprotected training was proposed"),
    ],
)
def test_a_hostile_proposal_is_refused_and_leaves_the_ledger_as_it_was(worker, site, proposal, words):
    reply = parse_reply(worker.answer(task(train(**proposal), "train")))
    assert isinstance(reply, Refusal)
    assert reply.code == "policy-refused"
    assert words in reply.reason
    assert len(site.ledger.view.entries) == 1


@pytest.mark.parametrize("kind", ["evaluate", "train.raw_metrics", "query.secrets"])
def test_a_kind_of_message_that_it_does_not_know_is_refused(worker, kind):
    reply = parse_reply(worker.answer(task(DESCRIBE, kind)))
    assert isinstance(reply, Refusal)
    assert (reply.partition_id, reply.code) == (7, "message")
    assert kind in reply.reason


def test_an_agent_is_refused(worker):
    reply = parse_reply(worker.answer(task(DESCRIBE, "query", is_for_clients=False)))
    assert isinstance(reply, Refusal)
    assert "runs no agents" in reply.reason


def test_garbage_is_refused(worker, site):
    for content in (RecordDict(), RecordDict({"fields": ConfigRecord({"run": 5})})):
        reply = parse_reply(worker.answer(task(content, "train")))
        assert isinstance(reply, Refusal)
        assert reply.code == "message"
    assert isinstance(parse_reply(worker.answer(task(train(number=0), "train"))), Refusal)
    assert len(site.ledger.view.entries) == 1


def test_settings_that_are_refused_are_refused_at_the_door(worker):
    reply = parse_reply(worker.answer(task(DESCRIBE, "query", **{"model.name": "cnn-tanh"})))
    assert isinstance(reply, Refusal)
    assert "not among those its policy permits" in reply.reason
    reply = parse_reply(worker.answer(task(DESCRIBE, "query", **{"privacy.reproducible-noise": True})))
    assert isinstance(reply, Refusal)
    assert "reproducible noise" in reply.reason


def test_a_defect_is_a_refusal_too_and_its_text_stays_here(worker, monkeypatch, caplog):
    def fail(_: bytes) -> None:
        raise ValueError("patient Smith")

    monkeypatch.setattr(worker._judge, "refuse_unknown", fail)
    with caplog.at_level(logging.ERROR, logger="fedledger.worker"):
        reply = parse_reply(worker.answer(task(DESCRIBE, "query")))
    assert isinstance(reply, Refusal)
    assert (reply.code, reply.reason) == ("internal", "the client failed (ValueError)")


def test_the_log_says_who_asked_what_and_how_it_was_answered(worker, caplog):
    with caplog.at_level(logging.INFO, logger="fedledger.worker"):
        worker.answer(task(train(), "train"))
        worker.answer(task(train(number=2, noise_multiplier=0.1), "train"))
    sent, refused = (record for record in caplog.records if record.name == "fedledger.worker")
    assert sent.fields["answer"] == "update"
    assert (refused.fields["asked"], refused.fields["answer"]) == ("train", "refusal")
    assert "noise multiplier 0.1 is below its policy's 0.8" in refused.getMessage()


@pytest.mark.parametrize(
    ("group", "begins"), [("1", "round 1: answered"), ("12 leave", "answered"), ("", "answered")]
)
def test_the_log_names_the_round_of_an_update_where_the_server_names_it(worker, caplog, group, begins):
    with caplog.at_level(logging.INFO, logger="fedledger.worker"):
        worker.answer(task(train(), "train", group=group))
    (sent,) = (record for record in caplog.records if record.name == "fedledger.worker")
    assert sent.getMessage().startswith(f"{begins} with its update after ")


def test_outside_a_message_nothing_is_left_of_the_site(worker):
    worker.answer(task(DESCRIBE, "query"))
    assert OWN_SITE.get(None) is None
