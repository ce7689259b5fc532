from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supercore.task_identity import TaskIdentity

from common import canonical
from common.config import TrainingSettings
from common.errors import MessageError, NoAnswer
from common.ledger import SigningKey
from common.ledger.receipts import HeldCheckpoint, Receipt
from common.messages import (
    describe_request_record,
    pack_arrays,
    parse_describe_request,
    parse_reply,
    parse_train_request,
    reply_record,
    train_request_record,
)
from common.protocol import (
    Delivery,
    DescribeRequest,
    Description,
    Proposal,
    Refusal,
    TrainRequest,
    Update,
)
from common.wire import unpack_arrays


@pytest.fixture(autouse=True)
def identity():
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1


GONE = {
    "MESSAGE_UNAVAILABLE": "did not take its message in time",
    "REPLY_MESSAGE_UNAVAILABLE": "its answer did not come in time",
    "NODE_UNAVAILABLE": "its connection ended before it had answered",
    "CLIENT_APP_CRASHED": "its process ended before it had answered",
}
KEY = SigningKey.generate()
RECEIPT = Receipt(
    origin="log",
    server_key=KEY.public,
    index=3,
    ledger_id="a" * 64,
    sequence=2,
    entry="b" * 64,
    run="r",
    round=1,
)
DELIVERY = Delivery(
    receipt=RECEIPT.sign(KEY),
    checkpoint=HeldCheckpoint(size=4, root="d" * 64, signature=bytes(64)),
    proof=("e" * 64, "f" * 64),
)


def message(content: RecordDict) -> Message:
    return Message(content, dst_node_id=2, message_type="train")


def request(noise_multiplier: float | None, target: float | None = None) -> TrainRequest:
    proposal = Proposal(
        training=TrainingSettings(batch_size=32, sample_rate="off", learning_rate=0.5),
        private=True,
        max_grad_norm=0.1,
        noise_multiplier=noise_multiplier,
        target_epsilon=target,
        planned_rounds=7,
    )
    arrays = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([1.5])}
    fields = {"run": "r", "round": 3, "server_nonce": "c" * 64, "known_entries": 5}
    return TrainRequest(**fields, arrays=arrays, proposal=proposal, deliveries=(DELIVERY,))


@pytest.mark.parametrize(("noise_multiplier", "target"), [(None, None), (1.25, None), (None, 4.0)])
def test_a_training_request_survives_the_wire(noise_multiplier, target):
    sent = request(noise_multiplier, target)
    received = parse_train_request(message(train_request_record(sent)))
    assert received.proposal == sent.proposal
    assert (received.run, received.round, received.known_entries) == ("r", 3, 5)
    assert (received.server_nonce, received.deliveries) == ("c" * 64, (DELIVERY,))
    for name, value in sent.arrays.items():
        np.testing.assert_array_equal(received.arrays[name], value)
        assert received.arrays[name].dtype == np.float32


def test_a_correction_survives_the_wire_and_its_absence_does_too():
    assert parse_train_request(message(train_request_record(request(None)))).correction is None
    correction = {"a.weight": np.float32([[1, 2, 3], [4, 5, 6]]), "b": np.float32([-0.5])}
    sent = replace(request(None), correction=correction)
    received = parse_train_request(message(train_request_record(sent))).correction
    assert received is not None
    assert received.keys() == correction.keys()
    for name, value in correction.items():
        np.testing.assert_array_equal(received[name], value)


def test_a_correction_that_is_no_arrays_is_a_message_error():
    record = train_request_record(request(None))
    record["correction"] = ConfigRecord({"a": 1.0})
    with pytest.raises(MessageError, match="the message holds no correction"):
        parse_train_request(message(record))


@pytest.mark.parametrize("mu", [-1.0, 101.0, float("nan"), float("inf"), "much"])
def test_a_pull_out_of_range_is_no_proposal(mu):
    record = train_request_record(request(None))
    record["fields"]["training.proximal-mu"] = mu
    with pytest.raises(MessageError, match=r"training\.proximal-mu is not permitted"):
        parse_train_request(message(record))


@pytest.mark.parametrize("deliveries", [(), (DELIVERY,), (DELIVERY, DELIVERY)])
def test_a_question_who_somebody_is_survives_the_wire(deliveries):
    sent = DescribeRequest(run="r", known_entries=9, deliveries=deliveries, classes=("cat", "dog"))
    assert parse_describe_request(message(describe_request_record(sent))) == sent


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "1", "null", '{"proof":[],"receipt":{}}', '{"proof":[1],"receipt":{},"checkpoint":{}}'],
)
def test_a_malformed_receipt_is_a_message_error(text):
    record = describe_request_record(DescribeRequest(run="r", deliveries=(DELIVERY,)))
    record["fields"]["deliveries"] = [text]
    with pytest.raises(MessageError, match="receipt"):
        parse_describe_request(message(record))


@pytest.mark.parametrize("changed", [{"proof": "abcdef"}, {"proof": {"abcdef": 1}}, {"unknown": 1}])
def test_a_delivery_has_one_form(changed):
    record = describe_request_record(DescribeRequest(run="r", deliveries=(DELIVERY,)))
    value = canonical.loads(record["fields"]["deliveries"][0]) | changed
    record["fields"]["deliveries"] = [canonical.dumps(value).decode()]
    with pytest.raises(MessageError, match="receipt"):
        parse_describe_request(message(record))


@pytest.mark.parametrize(
    "reply",
    [
        Description(partition_id=4, num_examples=10, ledger_lines=("a", "b"), presence=b"signed"),
        Refusal(partition_id=4, code="budget-exhausted", reason="spent"),
        Description(partition_id=0, num_examples=1, ledger_lines=(), presence=b""),
    ],
)
def test_replies_survive_the_wire(reply):
    assert parse_reply(message(reply_record(reply))) == reply


def test_an_update_survives_the_wire():
    update = Update(partition_id=1, num_examples=2, arrays={"w": np.float32([1, 2])}, ledger_lines=("x",))
    received = parse_reply(message(reply_record(update)))
    assert isinstance(received, Update)
    np.testing.assert_array_equal(received.arrays["w"], update.arrays["w"])
    assert received.ledger_lines == ("x",)


@pytest.mark.parametrize(
    "values",
    [
        np.ones((2, 3)),
        np.arange(6.0).reshape(2, 3).T,
        np.float64(7).reshape(()),
        np.zeros((0, 4)),
        np.ones((1,)),
    ],
)
def test_arrays_have_flowers_own_form_and_are_read_without_being_copied(values):
    values = values.astype(np.float32)
    packed = pack_arrays({"w": values})["w"]
    assert packed == Array(np.asarray(values, order="C"))
    request = Message(RecordDict({"arrays": ArrayRecord({"w": packed})}), dst_node_id=1, message_type="train")
    read = unpack_arrays(request)["w"]
    assert np.array_equal(read, values)
    assert read.shape == values.shape
    assert not read.flags.writeable, "whoever else holds the message has the same bytes"


def test_no_reply_carries_an_epsilon():
    update = Update(partition_id=1, num_examples=2, arrays={"w": np.float32([1])}, ledger_lines=("x",))
    record = reply_record(update)["fields"]
    assert set(record) == {"partition-id", "kind", "num-examples", "ledger-lines"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "partition-id|kind"),
        ({"kind": "gossip"}, "unknown kind"),
        ({"kind": "refusal", "partition-id": "four", "code": "a", "reason": "b"}, "partition-id"),
        (
            {"kind": "description", "partition-id": 1, "num-examples": 2.0, "ledger-lines": ["a"]},
            "num-examples",
        ),
        ({"kind": "update", "partition-id": 1, "num-examples": 2, "ledger-lines": ["a"]}, "no arrays"),
        ({"kind": "description", "partition-id": 1, "num-examples": 2, "ledger-lines": [1]}, "ledger-lines"),
    ],
)
def test_a_malformed_reply_is_a_message_error(fields, reason):
    with pytest.raises(MessageError, match=reason):
        parse_reply(message(RecordDict({"fields": ConfigRecord(fields)})))


def test_a_reply_without_fields_or_with_flowers_error_is_a_message_error():
    with pytest.raises(MessageError, match="no fields"):
        parse_reply(message(RecordDict()))
    failed = Message(Error(code=2, reason="secret value 42"), reply_to=message(RecordDict()))
    with pytest.raises(MessageError) as caught:
        parse_reply(failed)
    assert "42" not in str(caught.value)


def test_flowers_errors_of_clients_that_are_gone_are_said_in_words():
    named = {getattr(ErrorCode, name): words for name, words in GONE.items()}
    for code, words in named.items():
        failed = Message(Error(code=code, reason="secret value 42"), reply_to=message(RecordDict()))
        with pytest.raises(NoAnswer, match=words):
            parse_reply(failed)


def test_a_proposal_out_of_range_is_refused_by_name():
    record = train_request_record(request(1.0))
    record["fields"]["training.learning-rate"] = -1.0
    with pytest.raises(MessageError, match="learning-rate"):
        parse_train_request(message(record))


def test_a_refusals_text_is_one_printable_line_of_limited_length():
    hostile = Refusal(
        partition_id=1, code="x\n", reason="\x1b[2Jcleared\r\nround 9 \u202ereversed " + 1000 * "a"
    )
    received = parse_reply(message(reply_record(hostile)))
    assert isinstance(received, Refusal)
    assert received.code == "x "
    assert received.reason.startswith(" [2Jcleared  round 9  reversed aaa")
    assert len(received.reason) == 500
