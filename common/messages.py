"""The form of requests and replies on the wire; only this module knows the names of Flower's records."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.typing import ConfigRecordValues
from numpy.typing import NDArray
from pydantic import ValidationError

from common.arrays import Arrays
from common.config import TrainingSettings
from common.errors import MessageError
from common.protocol import DescribeRequest, Description, Proposal, Refusal, Reply, TrainRequest, Update

_T = TypeVar("_T")
_ARRAYS = "arrays"
_FIELDS = "fields"
_KIND = "kind"
_TRAINING_PREFIX = "training."
_LONGEST_LINE = 500
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<f4', 'fortran_order': False, "
    rb"'shape': \((?P<shape>[0-9, ]{0,200})\), \} *\n",
    re.DOTALL,
)


def describe_request_record(request: DescribeRequest) -> RecordDict:
    """Pack a request for a client's public facts."""
    return RecordDict({_FIELDS: ConfigRecord({"run": request.run})})


def parse_describe_request(message: Message) -> DescribeRequest:
    """Read a request for a client's public facts, or raise MessageError."""
    return DescribeRequest(run=_Fields(message).text("run"))


def train_request_record(request: TrainRequest, packed: ArrayRecord | None = None) -> RecordDict:
    """Pack a training request; `packed` reuses arrays that `pack_arrays` packed for a whole cohort."""
    proposal = request.proposal
    training = {f"{_TRAINING_PREFIX}{k}": v for k, v in proposal.training.model_dump(by_alias=True).items()}
    fields: dict[str, ConfigRecordValues] = {
        "run": request.run,
        "round": request.round,
        "known-entries": request.known_entries,
        "private": proposal.private,
        "max-grad-norm": proposal.max_grad_norm,
        "planned-rounds": proposal.planned_rounds,
        **training,
    }
    if proposal.noise_multiplier is not None:
        fields["noise-multiplier"] = proposal.noise_multiplier
    return RecordDict({_FIELDS: ConfigRecord(fields), _ARRAYS: packed or pack_arrays(request.arrays)})


def parse_train_request(message: Message) -> TrainRequest:
    """Read a training request, or raise MessageError."""
    fields = _Fields(message)
    has_noise = "noise-multiplier" in fields.names
    proposal = Proposal(
        training=fields.training(),
        private=fields.flag("private"),
        max_grad_norm=fields.number("max-grad-norm"),
        noise_multiplier=fields.number("noise-multiplier") if has_noise else None,
        planned_rounds=fields.integer("planned-rounds"),
    )
    return TrainRequest(
        run=fields.text("run"),
        round=fields.integer("round"),
        arrays=_unpack_arrays(message),
        proposal=proposal,
        known_entries=fields.integer("known-entries"),
    )


def reply_record(reply: Reply) -> RecordDict:
    """Pack a client's reply."""
    fields: dict[str, ConfigRecordValues] = {"partition-id": reply.partition_id}
    match reply:
        case Description():
            fields |= {_KIND: "description", "num-examples": reply.num_examples}
            fields["ledger-lines"] = list(reply.ledger_lines)
        case Update():
            fields |= {_KIND: "update", "num-examples": reply.num_examples}
            fields["ledger-lines"] = list(reply.ledger_lines)
        case Refusal():
            fields |= {_KIND: "refusal", "code": reply.code, "reason": reply.reason}
    record = RecordDict({_FIELDS: ConfigRecord(fields)})
    if isinstance(reply, Update):
        record[_ARRAYS] = pack_arrays(reply.arrays)
    return record


def parse_reply(message: Message) -> Reply:
    """Read a client's reply.

    Raises:
        MessageError: when the client failed without a typed reply, or the reply is malformed.
    """
    if message.has_error():
        raise MessageError(f"the client failed without a reason (Flower error {message.error.code})")
    fields = _Fields(message)
    readers: dict[str, Callable[[_Fields, Message], Reply]] = {
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
    return ArrayRecord({name: Array(np.ascontiguousarray(value)) for name, value in arrays.items()})


def _parse_description(fields: _Fields, _: Message) -> Description:
    return Description(
        partition_id=fields.integer("partition-id"),
        num_examples=fields.integer("num-examples"),
        ledger_lines=fields.lines("ledger-lines"),
    )


def _parse_update(fields: _Fields, message: Message) -> Update:
    return Update(
        partition_id=fields.integer("partition-id"),
        num_examples=fields.integer("num-examples"),
        arrays=_unpack_arrays(message),
        ledger_lines=fields.lines("ledger-lines"),
    )


def _parse_refusal(fields: _Fields, _: Message) -> Refusal:
    return Refusal(
        partition_id=fields.integer("partition-id"), code=fields.line("code"), reason=fields.line("reason")
    )


def _unpack_arrays(message: Message) -> Arrays:
    record = message.content.get(_ARRAYS)
    if not isinstance(record, ArrayRecord):
        raise MessageError("the message holds no arrays")
    return {str(name): _unpack_array(str(name), array.data) for name, array in record.items()}


def _unpack_array(name: str, data: bytes) -> NDArray[np.float32]:
    """Read a float32 array in the form that Flower gives it, a .npy file, and no other.

    numpy's own reader would also open archives and evaluate headers, and fail in many ways on hostile bytes.
    """
    header = _NPY_HEADER.match(data)
    if header is None:
        raise MessageError(f"the array {name!r:.60} cannot be decoded: it is not float32")
    try:
        shape = [int(size) for size in header["shape"].split(b",") if size.strip()]
        return np.frombuffer(data, dtype="<f4", offset=header.end()).reshape(shape).astype(np.float32)
    except ValueError:
        raise MessageError(f"the array {name!r:.60} cannot be decoded: its size is not its shape's") from None


class _Fields:
    """The scalar fields of a message, read with their types checked."""

    def __init__(self, message: Message) -> None:
        record = message.content.get(_FIELDS) if message.has_content() else None
        if not isinstance(record, ConfigRecord):
            raise MessageError("the message holds no fields")
        self._record = record
        self.names = frozenset(record)

    def text(self, name: str) -> str:
        return self._typed(name, str)

    def line(self, name: str) -> str:
        """Return text that goes to screens and logs: one line, printable, of limited length."""
        text = self.text(name)[:_LONGEST_LINE]
        return "".join(character if character.isprintable() else " " for character in text)

    def integer(self, name: str) -> int:
        return self._typed(name, int)

    def flag(self, name: str) -> bool:
        return self._typed(name, bool)

    def number(self, name: str) -> float:
        return self._typed(name, float)

    def lines(self, name: str) -> tuple[str, ...]:
        values = self._typed(name, list)
        if not all(isinstance(value, str) for value in values):
            raise MessageError(f"the field {name} holds something other than text")
        return tuple(values)

    def training(self) -> TrainingSettings:
        length = len(_TRAINING_PREFIX)
        values = {
            name[length:]: self._record[name] for name in self.names if name.startswith(_TRAINING_PREFIX)
        }
        try:
            return TrainingSettings.model_validate(values)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"][:1])
            raise MessageError(f"the proposal's training.{where} is not permitted") from None

    def _typed(self, name: str, kind: type[_T]) -> _T:
        value = self._record.get(name)
        if type(value) is not kind:
            raise MessageError(f"the field {name} is missing or not of type {kind.__name__}")
        return value
