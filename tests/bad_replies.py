"""Replies that must not be averaged. Each keeps its books as well as it can: one check alone sees it."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial

import numpy as np
from flwr.app import Array, ConfigRecord, Error, Message, RecordDict

from common.ledger import SigningKey
from common.messages import reply_record
from common.protocol import Description
from tests.small_federation import MODEL, MadeUpClient


def poisoned(value, client, request, update):
    first = next(iter(update.arrays))
    arrays = {name: array.copy() for name, array in update.arrays.items()}
    arrays[first].flat[1] = value
    return client.updated(request, arrays)


def reshaped(client, request, update):
    return client.updated(request, {name: array[..., None] for name, array in update.arrays.items()})


def scalars(client, request, update):
    return client.updated(request, {name: np.float32(7.0) for name in update.arrays})


def renamed(client, request, update):
    return client.updated(request, {f"x.{name}": array for name, array in update.arrays.items()})


def too_many(client, request, update):
    return client.updated(request, update.arrays | {"more": np.zeros(2, dtype=np.float32)})


def in_double(client, request, update):
    return client.updated(request, {name: array.astype(np.float64) for name, array in update.arrays.items()})


def overweight(client, request, update):
    return replace(client.updated(request, update.arrays), num_examples=20_000)


def gossip(client, request, update):
    return RecordDict({"fields": ConfigRecord({"kind": "gossip", "partition-id": 1})})


def nothing(client, request, update):
    return RecordDict()


def description(client, request, update):
    return Description(
        partition_id=1,
        num_examples=20,
        ledger_lines=tuple(client.lines),
        presence=client.presence(request.run),
    )


def crash(client, request, update):
    question = Message(RecordDict(), dst_node_id=2, message_type="train")
    return Message(Error(code=2, reason="patient Smith"), reply_to=question)


def with_bytes(data, client, request, update):
    record = reply_record(client.updated(request, update.arrays))
    name = next(iter(update.arrays))
    shape = update.arrays[name].shape
    record["arrays"][name] = Array(dtype="float32", shape=shape, stype="numpy.ndarray", data=data)
    return record


def npy(array=MODEL["a"]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(2, dtype=np.float32))
    return file.getvalue()


def uncharged(client, request, update):
    return update


def reserved_only(client, request, update):
    client.reserve(request)
    return client.reply(request, update.arrays)


def another_update_released(client, request, update):
    other = {name: array + 1 for name, array in update.arrays.items()}
    client.release(request, other, reserve=client.reserve(request))
    return client.reply(request, update.arrays)


def another_round(client, request, update):
    other = replace(request, round=request.round + 1)
    client.release(other, update.arrays, reserve=client.reserve(other))
    return client.reply(request, update.arrays)


def another_run(client, request, update):
    other = replace(request, run="another")
    client.release(other, update.arrays, reserve=client.reserve(other))
    return client.reply(request, update.arrays)


def released_twice(client, request, update):
    reserve = client.reserve(request)
    client.release(request, update.arrays, reserve=reserve)
    client.release(request, update.arrays, reserve=reserve)
    return client.reply(request, update.arrays)


def forged(client, request, update):
    client.reserve(request)
    forger = SigningKey.generate()
    honest, client.key = client.key, forger
    client.release(request, update.arrays, reserve=len(client.lines) - 1)
    client.key = honest
    return client.reply(request, update.arrays)


def another_clients_lines(client, request, update):
    other = MadeUpClient(5, client.num_examples, client.value)
    return replace(other.updated(request, update.arrays), partition_id=1)


def with_a_gap(client, request, update):
    honest = client.updated(request, update.arrays)
    return replace(honest, ledger_lines=honest.ledger_lines[1:])


def from_the_start(client, request, update):
    client.updated(request, update.arrays)
    return replace(update, ledger_lines=tuple(client.lines))


def not_json(client, request, update):
    return replace(client.updated(request, update.arrays), ledger_lines=("{", "\x00é"))


BAD = {
    "nan": (partial(poisoned, np.nan), "message", "not finite"),
    "infinite": (partial(poisoned, -np.inf), "message", "not finite"),
    "shape": (reshaped, "message", "has shape"),
    "scalars": (scalars, "message", "has shape"),
    "names": (renamed, "message", "missing or unknown"),
    "more names": (too_many, "message", "'more' is missing or unknown"),
    "type": (in_double, "message", "not float32"),
    "weight": (overweight, "message", "claims 20000 examples where its ledger says 20"),
    "kind": (gossip, "message", "unknown kind 'gossip'"),
    "empty": (nothing, "message", "no fields"),
    "description": (description, "message", "something else"),
    "crash": (crash, "message", "Flower error 2"),
    "garbage": (partial(with_bytes, b"garbage"), "message", "cannot be decoded"),
    "no bytes": (partial(with_bytes, b""), "message", "cannot be decoded"),
    "broken zip": (partial(with_bytes, b"PK\x03\x04 but no archive"), "message", "cannot be decoded"),
    "cut": (partial(with_bytes, npy()[:-1]), "message", "cannot be decoded"),
    "pickle": (partial(with_bytes, npy(np.array([None, None]))), "message", "cannot be decoded"),
    "other shape": (partial(with_bytes, npy(np.float32([[1, 2]]))), "message", "has shape"),
    "odd header": (
        partial(with_bytes, npy().replace(b"{'descr'", b"(((((((")),
        "message",
        "cannot be decoded",
    ),
    "odd shape": (partial(with_bytes, npy().replace(b"(2,)", b"(22)")), "message", "cannot be decoded"),
    "archive": (partial(with_bytes, npz()), "message", "cannot be decoded"),
    "uncharged": (uncharged, "message", "does not end with the release"),
    "reserved only": (reserved_only, "message", "does not end with the release"),
    "another update": (another_update_released, "message", "does not end with the release"),
    "another round": (another_round, "message", "does not end with the release"),
    "another run": (another_run, "message", "does not end with the release"),
    "released twice": (released_twice, "ledger-tampered", "not an open RESERVE"),
    "forged": (forged, "ledger-tampered", "entry 2: its signature"),
    "another client's": (another_clients_lines, "ledger-tampered", "entry 1: its previous"),
    "gap": (with_a_gap, "ledger-tampered", "entry 1"),
    "from the start": (from_the_start, "ledger-tampered", "entry 1"),
    "not json": (not_json, "ledger-tampered", "entry 1: it is not an entry with its signature"),
}
