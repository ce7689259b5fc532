"""The form of entries in JSON: integers and decimal strings, never floats; read strictly."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from common.errors import LedgerError
from common.ledger.entries import (
    ADJACENCY,
    NOISE_SOURCES,
    Abort,
    Acknowledged,
    Amend,
    Body,
    Genesis,
    KeyRotate,
    Release,
    Reserve,
)
from common.ledger.fields import HASH, SIGNATURE, Fields
from common.ledger.receipts import checkpoint_from_json, receipt_from_json
from common.privacy.decimals import decimal_text
from common.privacy.mechanisms import to_json

_ADJACENCY = re.compile(ADJACENCY)
_NOISE_SOURCE = re.compile("|".join(NOISE_SOURCES))


def body_to_json(body: Body) -> dict[str, Any]:
    """Give an entry's body its form in JSON, with its type."""
    fields: dict[str, Any]
    match body:
        case Genesis():
            kind, fields = "GENESIS", _genesis(body)
        case Amend():
            kind, fields = "AMEND", {"num_examples": body.num_examples, "commitment": body.commitment}
        case Reserve():
            kind, fields = "RESERVE", _reserve(body)
        case Release():
            kind, fields = "RELEASE", {**_closing(body), "update": body.update}
        case Abort():
            kind, fields = "ABORT", {**_closing(body), "reason": body.reason}
        case Acknowledged():
            held = {"checkpoint": body.checkpoint.to_json(), **body.receipt.to_json()}
            kind, fields = "RECEIPT", {"release": body.release, **held}
        case KeyRotate():
            kind, fields = "KEY_ROTATE", {"public_key": _text(body.public_key), "proof": _text(body.proof)}
    return {"type": kind, **fields}


def body_from_json(value: Mapping[str, Any]) -> Body:
    """Read what `body_to_json` wrote, and nothing else.

    Args:
        value: an entry's fields, without those of the chain.

    Raises:
        LedgerError: names the field that is missing, unknown or out of range.
    """
    kind = value.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise LedgerError(f"the type is {kind!r:.60}, permitted is one of {', '.join(_READERS)}")
    body = reader(Fields(value))
    if unknown := sorted(map(str, set(value) - set(body_to_json(body)))):
        raise LedgerError(f"the field {unknown[0]!r:.60} is unknown")
    return body


def _genesis(body: Genesis) -> dict[str, Any]:
    return {
        "ledger_id": body.ledger_id,
        "public_key": _text(body.public_key),
        "adjacency": ADJACENCY,
        "delta": decimal_text(body.delta),
        "budget_epsilon": _optional(body.budget_epsilon),
        "filter_order": _optional(body.filter_order),
        "num_examples": body.num_examples,
        "commitment": body.commitment,
    }


def _reserve(body: Reserve) -> dict[str, Any]:
    return {
        "run": body.run,
        "round": body.round,
        "purpose": body.purpose,
        "mechanisms": [to_json(mechanism) for mechanism in body.mechanisms],
        "max_grad_norm": _optional(body.max_grad_norm),
        "normaliser": [body.normaliser.numerator, body.normaliser.denominator],
        "sampler": body.sampler,
        "noise_source": body.noise_source,
        "input_model": body.input_model,
        "server_nonce": body.server_nonce,
        "code_digest": body.code_digest,
        "libraries": dict(body.libraries),
    }


def _closing(body: Release | Abort) -> dict[str, Any]:
    return {"run": body.run, "round": body.round, "reserve": body.reserve}


def _optional(value: float | None) -> str | None:
    return None if value is None else decimal_text(value)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _read_genesis(fields: Fields) -> Genesis:
    fields.text("adjacency", _ADJACENCY)
    delta, order = fields.decimal("delta"), fields.optional_decimal("filter_order")
    budget = fields.optional_decimal("budget_epsilon")
    if delta >= 1:
        raise LedgerError(f"the field delta is {delta}, permitted is a number above 0 and below 1")
    if order is not None and (order <= 1 or budget is None):
        raise LedgerError(f"the field filter_order is {order}, permitted is a number above 1, with a budget")
    return Genesis(
        ledger_id=fields.text("ledger_id", HASH),
        public_key=fields.key(),
        delta=delta,
        budget_epsilon=budget,
        filter_order=order,
        num_examples=fields.integer("num_examples", least=1),
        commitment=fields.text("commitment", HASH),
    )


def _read_amend(fields: Fields) -> Amend:
    return Amend(
        num_examples=fields.integer("num_examples", least=1), commitment=fields.text("commitment", HASH)
    )


def _read_reserve(fields: Fields) -> Reserve:
    return Reserve(
        run=fields.text("run"),
        round=fields.integer("round", least=1),
        purpose=fields.text("purpose"),
        mechanisms=fields.mechanisms(),
        max_grad_norm=fields.optional_decimal("max_grad_norm"),
        normaliser=fields.fraction("normaliser"),
        sampler=fields.text("sampler"),
        noise_source=fields.text("noise_source", _NOISE_SOURCE),
        input_model=fields.text("input_model", HASH),
        server_nonce=fields.text("server_nonce", HASH),
        code_digest=fields.text("code_digest", HASH),
        libraries=fields.versions(),
    )


def _read_release(fields: Fields) -> Release:
    return Release(
        run=fields.text("run"),
        round=fields.integer("round", least=1),
        reserve=fields.integer("reserve", least=1),
        update=fields.text("update", HASH),
    )


def _read_abort(fields: Fields) -> Abort:
    return Abort(
        run=fields.text("run"),
        round=fields.integer("round", least=1),
        reserve=fields.integer("reserve", least=1),
        reason=fields.text("reason"),
    )


def _read_receipt(fields: Fields) -> Acknowledged:
    held = {name: fields.value[name] for name in ("receipt", "signature") if name in fields.value}
    return Acknowledged(
        release=fields.integer("release", least=1),
        receipt=receipt_from_json(held),
        checkpoint=checkpoint_from_json(fields.value.get("checkpoint")),
    )


def _read_key_rotate(fields: Fields) -> KeyRotate:
    return KeyRotate(public_key=fields.key(), proof=fields.base64("proof", SIGNATURE))


_READERS: dict[str, Callable[[Fields], Body]] = {
    "GENESIS": _read_genesis,
    "AMEND": _read_amend,
    "RESERVE": _read_reserve,
    "RELEASE": _read_release,
    "ABORT": _read_abort,
    "RECEIPT": _read_receipt,
    "KEY_ROTATE": _read_key_rotate,
}
