"""The form of requests and replies on the wire; only this module knows the names of Flower's records."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.typing import ConfigRecordValues

from common import canonical
from common.arrays import Arrays
from common.errors import LedgerError, MessageError, NoAnswer
from common.ledger.receipts import checkpoint_from_json, receipt_from_json
from common.protocol import (
    Delivery,
    DescribeRequest,
    Description,
    Proposal,
    Refusal,
    Reply,
    TrainRequest,
    Update,
)
from common.wire import ARRAYS, CORRECTION, FIELDS, TRAINING_PREFIX, Fields, pack_array, unpack_arrays

FLOWER_ERRORS = {
    3: "it did not take its message in time",
    4: "its answer did not come in time",
    5: "its connection ended before it had answered",
    8: "its process ended before it had answered",
}
"""What Flower's codes of errors mean where nobody answered."""

_KIND = "kind"
_DELIVERED = ("receipt", "checkpoint", "proof")


def describe_request_record(request: DescribeRequest) -> RecordDict:
    """Pack a request for a client's public facts."""
    fields: dict[str, ConfigRecordValues] = {
        "run": request.run,
        "known-entries": request.known_entries,
        "deliveries": _pack_deliveries(request.deliveries),
        "classes": list(request.classes),
        "notice": request.notice,
    }
    return RecordDict({FIELDS: ConfigRecord(fields)})


def parse_describe_request(message: Message) -> DescribeRequest:
    """Read a request for a client's public facts, or raise MessageError."""
    fields = Fields(message)
    return DescribeRequest(
        run=fields.text("run"),
        known_entries=fields.integer("known-entries"),
        deliveries=_read_deliveries(fields),
        classes=fields.lines("classes"),
        notice=fields.line("notice"),
    )


def train_request_record(request: TrainRequest, packed: ArrayRecord | None = None) -> RecordDict:
    """Pack a training request; `packed` reuses arrays that `pack_arrays` packed for a whole cohort."""
    proposal = request.proposal
    training = {f"{TRAINING_PREFIX}{k}": v for k, v in proposal.training.model_dump(by_alias=True).items()}
    fields: dict[str, ConfigRecordValues] = {
        "run": request.run,
        "round": request.round,
        "server-nonce": request.server_nonce,
        "known-entries": request.known_entries,
        "deliveries": _pack_deliveries(request.deliveries),
        "private": proposal.private,
        "max-grad-norm": proposal.max_grad_norm,
        "planned-rounds": proposal.planned_rounds,
        **training,
    }
    if proposal.noise_multiplier is not None:
        fields["noise-multiplier"] = proposal.noise_multiplier
    if proposal.target_epsilon is not None:
        fields["target-epsilon"] = proposal.target_epsilon
    record = RecordDict({FIELDS: ConfigRecord(fields), ARRAYS: packed or pack_arrays(request.arrays)})
    if request.correction is not None:
        record[CORRECTION] = pack_arrays(request.correction)
    return record


def parse_train_request(message: Message) -> TrainRequest:
    """Read a training request, or raise MessageError."""
    fields = Fields(message)
    proposal = Proposal(
        training=fields.training(),
        private=fields.flag("private"),
        max_grad_norm=fields.number("max-grad-norm"),
        noise_multiplier=fields.optional_number("noise-multiplier"),
        target_epsilon=fields.optional_number("target-epsilon"),
        planned_rounds=fields.integer("planned-rounds"),
    )
    return TrainRequest(
        run=fields.text("run"),
        round=fields.integer("round"),
        arrays=unpack_arrays(message),
        proposal=proposal,
        server_nonce=fields.text("server-nonce"),
        known_entries=fields.integer("known-entries"),
        deliveries=_read_deliveries(fields),
        correction=unpack_arrays(message, CORRECTION) if CORRECTION in message.content else None,
    )


def reply_record(reply: Reply) -> RecordDict:
    """Pack a client's reply."""
    fields: dict[str, ConfigRecordValues] = {"partition-id": reply.partition_id}
    match reply:
        case Description():
            fields |= {_KIND: "description", "num-examples": reply.num_examples}
            fields |= {"ledger-lines": list(reply.ledger_lines), "presence": reply.presence}
        case Update():
            fields |= {_KIND: "update", "num-examples": reply.num_examples}
            fields["ledger-lines"] = list(reply.ledger_lines)
        case Refusal():
            fields |= {_KIND: "refusal", "code": reply.code, "reason": reply.reason}
    record = RecordDict({FIELDS: ConfigRecord(fields)})
    if isinstance(reply, Update):
        record[ARRAYS] = pack_arrays(reply.arrays)
    return record


def parse_reply(message: Message) -> Reply:
    """Read a client's reply.

    Raises:
        NoAnswer: when Flower says that none will come.
        MessageError: when the client failed without a typed reply, or the reply is malformed.
    """
    if message.has_error():
        if (why := FLOWER_ERRORS.get(message.error.code)) is not None:
            raise NoAnswer(why)
        raise MessageError(f"the client failed without a reason (Flower error {message.error.code})")
    fields = Fields(message)
    readers: dict[str, Callable[[Fields, Message], Reply]] = {
        "description": _parse_description,
        "update": _parse_update,
        "refusal": _parse_refusal,
    }
    kind = fields.text(_KIND)
    if kind not in readers:
        raise MessageError(f"a reply of unknown kind {kind[:40]!r}; known are {', '.join(readers)}")
    return readers[kind](fields, message)


def pack_arrays(arrays: Arrays) -> ArrayRecord:
    """Pack named arrays for the wire, without pickle."""
    return ArrayRecord({name: pack_array(value) for name, value in arrays.items()})


def _pack_deliveries(deliveries: Iterable[Delivery]) -> list[str]:
    return [
        canonical.dumps(
            {
                "receipt": delivery.receipt.to_json(),
                "checkpoint": delivery.checkpoint.to_json(),
                "proof": list(delivery.proof),
            }
        ).decode("ascii")
        for delivery in deliveries
    ]


def _read_deliveries(fields: Fields) -> tuple[Delivery, ...]:
    return tuple(_read_delivery(text) for text in fields.lines("deliveries"))


def _read_delivery(text: str) -> Delivery:
    try:
        value = canonical.loads(text)
        proof = value["proof"]
        if not isinstance(proof, list) or not all(isinstance(step, str) for step in proof):
            raise MessageError("a receipt's proof is not a list of hashes")
        if len(value) != len(_DELIVERED):
            raise MessageError(f"a delivered receipt holds more than {', '.join(_DELIVERED)}")
        return Delivery(
            receipt=receipt_from_json(value["receipt"]),
            checkpoint=checkpoint_from_json(value["checkpoint"]),
            proof=tuple(proof),
        )
    except (ValueError, KeyError, TypeError):
        raise MessageError("a delivered receipt is not of the agreed form") from None
    except LedgerError as error:
        raise MessageError(f"a delivered receipt is not of the agreed form: {error}") from None


def _parse_description(fields: Fields, _: Message) -> Description:
    return Description(
        partition_id=fields.integer("partition-id"),
        num_examples=fields.integer("num-examples"),
        ledger_lines=fields.lines("ledger-lines"),
        presence=fields.binary("presence"),
    )


def _parse_update(fields: Fields, message: Message) -> Update:
    return Update(
        partition_id=fields.integer("partition-id"),
        num_examples=fields.integer("num-examples"),
        arrays=unpack_arrays(message),
        ledger_lines=fields.lines("ledger-lines"),
    )


def _parse_refusal(fields: Fields, _: Message) -> Refusal:
    return Refusal(
        partition_id=fields.integer("partition-id"), code=fields.line("code"), reason=fields.line("reason")
    )
