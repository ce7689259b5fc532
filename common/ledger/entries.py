"""The kinds of entries in a ledger, and their form in JSON.

Numbers are integers or decimal strings, never floats; nothing that depends on a record's content (batch
sizes drawn, losses, times) has a field to stand in.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

from common.errors import LedgerError
from common.ledger.fields import HASH, Fields
from common.ledger.keys import SigningKey
from common.privacy.decimals import decimal_text
from common.privacy.mechanisms import Mechanism, to_json

ADJACENCY = "zero-out"
NOISE_SOURCES = ("chacha20", "reproducible", "none")


@dataclass(frozen=True, kw_only=True)
class Genesis:
    """A ledger's beginning: what is fixed for the data set's life.

    Args:
        ledger_id: random identity, 64 hexadecimal digits.
        public_key: Ed25519 key of the client, 32 bytes.
        delta: of every epsilon of this data set.
        budget_epsilon: lifetime limit, or None where training without privacy is permitted.
        num_examples: public size n of the data set.
    """

    ledger_id: str
    public_key: bytes
    delta: float
    budget_epsilon: float | None
    num_examples: int

    @classmethod
    def new(cls, key: SigningKey, *, delta: float, budget_epsilon: float | None, num_examples: int) -> Self:
        """Begin a ledger with a fresh identity."""
        return cls(
            ledger_id=secrets.token_hex(32),
            public_key=key.public,
            delta=delta,
            budget_epsilon=budget_epsilon,
            num_examples=num_examples,
        )


@dataclass(frozen=True, kw_only=True)
class Reserve:
    """A charge, written before the first record is touched; it stays, released or not.

    Args:
        run: the run's id.
        round: the round, from 1.
        purpose: what the computation is for.
        mechanisms: all that may be run on the records.
        max_grad_norm: clip of one record's gradient, or None without privacy.
        normaliser: public number that sums are divided by, n times q.
        sampler: how batches are drawn.
        noise_source: one of NOISE_SOURCES.
        input_model: SHA-256 (hex) of the model that training starts from.
        libraries: versions of what computes.
    """

    run: str
    round: int
    purpose: str
    mechanisms: tuple[Mechanism, ...]
    max_grad_norm: float | None
    normaliser: Fraction
    sampler: str
    noise_source: str
    input_model: str
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Release:
    """What left the client under a charge: the SHA-256 (hex) of the update."""

    run: str
    round: int
    reserve: int
    update: str


@dataclass(frozen=True, kw_only=True)
class Abort:
    """A charge whose result will not leave; the charge stays all the same."""

    run: str
    round: int
    reserve: int
    reason: str


Body = Genesis | Reserve | Release | Abort


def body_to_json(body: Body) -> dict[str, Any]:
    """Give an entry's body its form in JSON, with its type."""
    match body:
        case Genesis():
            budget = body.budget_epsilon
            return {
                "type": "GENESIS",
                "ledger_id": body.ledger_id,
                "public_key": base64.b64encode(body.public_key).decode("ascii"),
                "adjacency": ADJACENCY,
                "delta": decimal_text(body.delta),
                "budget_epsilon": None if budget is None else decimal_text(budget),
                "num_examples": body.num_examples,
            }
        case Reserve():
            clip = body.max_grad_norm
            return {
                "type": "RESERVE",
                "run": body.run,
                "round": body.round,
                "purpose": body.purpose,
                "mechanisms": [to_json(mechanism) for mechanism in body.mechanisms],
                "max_grad_norm": None if clip is None else decimal_text(clip),
                "normaliser": [body.normaliser.numerator, body.normaliser.denominator],
                "sampler": body.sampler,
                "noise_source": body.noise_source,
                "input_model": body.input_model,
                "libraries": dict(body.libraries),
            }
        case Release():
            named = {"run": body.run, "round": body.round, "reserve": body.reserve}
            return {"type": "RELEASE", **named, "update": body.update}
        case Abort():
            named = {"run": body.run, "round": body.round, "reserve": body.reserve}
            return {"type": "ABORT", **named, "reason": body.reason}


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


def _read_genesis(fields: Fields) -> Genesis:
    fields.text("adjacency", re.compile(ADJACENCY))
    delta = fields.decimal("delta")
    if delta >= 1:
        raise LedgerError(f"the field delta is {delta}, permitted is a number above 0 and below 1")
    return Genesis(
        ledger_id=fields.text("ledger_id", HASH),
        public_key=fields.key(),
        delta=delta,
        budget_epsilon=fields.optional_decimal("budget_epsilon"),
        num_examples=fields.integer("num_examples", least=1),
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
        noise_source=fields.text("noise_source", re.compile("|".join(NOISE_SOURCES))),
        input_model=fields.text("input_model", HASH),
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


_READERS: dict[str, Callable[[Fields], Body]] = {
    "GENESIS": _read_genesis,
    "RESERVE": _read_reserve,
    "RELEASE": _read_release,
    "ABORT": _read_abort,
}
