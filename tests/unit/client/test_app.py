"""What a client answers, and that no failure's text leaves it by accident."""

from __future__ import annotations

import logging

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from client import app as client_app
from common.config import TrainingSettings
from common.errors import BudgetExhausted, DataError
from common.messages import describe_request_record, parse_reply, train_request_record
from common.models import initial_arrays
from common.models.finetune.weights import load_backbone
from common.protocol import DescribeRequest, Description, Proposal, Refusal, TrainRequest, Update

pytestmark = pytest.mark.usefixtures("flower_identity")

PROPOSAL = Proposal(
    training=TrainingSettings(sample_rate=0.2),
    private=True,
    max_grad_norm=1.0,
    noise_multiplier=2.0,
    target_epsilon=None,
    planned_rounds=3,
)
SECRET = "record 17 shows patient Smith"


@pytest.fixture
def context(tiny_settings) -> Context:
    node_config = {"partition-id": 1, "num-partitions": 2}
    run_config = tiny_settings().flat()
    return Context(run_id=1, node_id=3, node_config=node_config, state=RecordDict(), run_config=run_config)


def message(content: RecordDict, kind: str = "train") -> Message:
    question = Message(content, dst_node_id=3, message_type=kind)
    question.metadata.__dict__["_message_id"] = "question"
    return question


def train_message() -> Message:
    request = TrainRequest(
        run="run",
        round=1,
        arrays=initial_arrays("cnn", num_classes=2, seed=0),
        proposal=PROPOSAL,
        server_nonce="c" * 64,
        known_entries=1,
    )
    return message(train_request_record(request))


def ask(question: Message, context: Context):
    return parse_reply(client_app.app(question, context))


def test_a_client_describes_itself_by_public_facts(context):
    reply = ask(message(describe_request_record(DescribeRequest(run="run")), "query"), context)
    assert isinstance(reply, Description)
    assert (reply.partition_id, reply.num_examples, len(reply.ledger_lines)) == (1, 24, 1)


@pytest.mark.parametrize("names", [("dog", "cat"), ("cat",), ("cat", "dog", "eel"), ("Cat", "dog")])
def test_a_client_whose_classes_are_others_takes_no_part_and_does_not_tell_them(context, names, caplog):
    reply = ask(message(describe_request_record(DescribeRequest(run="run", classes=names)), "query"), context)
    assert isinstance(reply, Refusal)
    assert (reply.code, "not named like the" in reply.reason) == ("config", True)
    assert not any(word in reply.reason for word in ("cat", "dog", "eel"))


def test_why_an_answer_was_not_taken_stands_in_the_clients_own_log(context, caplog):
    notice = DescribeRequest(run="run", notice="its ledger\nlacks \x1b[31mentries" + "." * 10_000)
    reply = ask(message(describe_request_record(notice), "query"), context)
    (line,) = [text for text in caplog.messages if "not take" in text]
    assert line.startswith("the server does not take this client's answer: its ledger lacks  [31mentries...")
    assert len(line) < 1000
    assert reply.ledger_lines == (), "nothing was asked"


def test_a_client_with_the_very_classes_takes_part(context):
    asked = DescribeRequest(run="run", classes=("cat", "dog"))
    assert isinstance(ask(message(describe_request_record(asked), "query"), context), Description)


def test_a_client_trains_and_answers_with_its_update(context):
    reply = ask(train_message(), context)
    assert isinstance(reply, Update)
    assert (reply.partition_id, reply.num_examples, len(reply.ledger_lines)) == (1, 24, 2)


def test_a_deliberate_error_is_a_refusal_with_its_code_and_text(context, monkeypatch):
    def refuse(*_: object) -> Update:
        raise BudgetExhausted("epsilon 3 of 3 is spent")

    monkeypatch.setattr(client_app, "train_round", refuse)
    assert ask(train_message(), context) == Refusal(
        partition_id=1, code="budget-exhausted", reason="epsilon 3 of 3 is spent"
    )


@pytest.mark.parametrize("error", [ValueError, KeyError, MemoryError, RuntimeError, OSError])
def test_no_other_exceptions_text_crosses_the_wire(context, monkeypatch, caplog, error):
    def fail(*_: object) -> Update:
        raise error(SECRET)

    monkeypatch.setattr(client_app, "train_round", fail)
    with caplog.at_level(logging.ERROR, logger="fedledger.client"):
        answer = client_app.app(train_message(), context)
    assert "Smith" not in str(answer.content)
    assert not answer.has_error()
    reply = parse_reply(answer)
    assert isinstance(reply, Refusal)
    assert (reply.partition_id, reply.code) == (1, "internal")
    assert error.__name__ in reply.reason
    assert "Smith" in caplog.text  # the client's own log is where its owner looks


def test_not_even_the_name_of_an_image_file_leaves(context, monkeypatch, caplog):
    def fail(_: Context):
        raise DataError("train/cat/patient-smith.png is not a readable image: remove it or replace it")

    monkeypatch.setattr(client_app, "open_site", fail)
    reply = ask(train_message(), context)
    assert isinstance(reply, Refusal)
    assert (reply.partition_id, reply.code) == (1, "data")
    assert "smith" not in reply.reason
    assert "patient-smith.png" in caplog.text


def test_not_even_where_a_site_keeps_its_weights_leaves(context, monkeypatch, caplog, tmp_path):
    file = tmp_path / "patients-of-dr-smith.pth"

    def fail(_: Context):
        load_backbone("resnet18", str(file))

    monkeypatch.setattr(client_app, "open_site", fail)
    reply = ask(train_message(), context)
    assert isinstance(reply, Refusal)
    assert (reply.partition_id, reply.code) == (1, "weights")
    assert "smith" not in reply.reason
    assert "its weights cannot be used" in reply.reason
    assert file.name in caplog.text


@pytest.mark.parametrize("kind", ["train", "query"])
@pytest.mark.parametrize("content", [RecordDict(), RecordDict({"fields": ConfigRecord({"run": 5})})])
def test_a_malformed_request_is_refused_by_name(context, kind, content):
    reply = ask(message(content, kind), context)
    assert isinstance(reply, Refusal)
    assert (reply.partition_id, reply.code) == (1, "message")


def test_a_node_without_a_number_still_answers(context):
    nameless = Context(run_id=1, node_id=3, node_config={}, state=RecordDict(), run_config=context.run_config)
    reply = ask(train_message(), nameless)
    assert isinstance(reply, Refusal)
    assert (reply.partition_id, reply.code) == (-1, "config")
    assert "partition-id=0" in reply.reason


def test_a_reply_answers_its_own_question(context):
    answer = client_app.app(train_message(), context)
    assert answer.metadata.reply_to_message_id == "question"
    assert answer.metadata.src_node_id == 3
