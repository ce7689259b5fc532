"""A ledger's charges for other programs: a table, JSON, or what another accountant can evaluate."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from types import NoneType
from typing import Any

from common.ledger.chain import LedgerView
from common.ledger.display import key_record
from common.ledger.entries import Abort, Acknowledged, Release, Reserve
from common.privacy.decimals import decimal_text
from common.privacy.mechanisms import Mechanism, merge, to_json
from common.privacy.noise import Gaussian, Laplace, PoissonGaussian, Unprotected


@dataclass(frozen=True, kw_only=True)
class Charge:
    """One mechanism that was charged, and what became of it.

    Args:
        entry: number of its RESERVE.
        mechanism: its type, as in the ledger.
        noise_multiplier: None for training without noise.
        sample_rate: probability of a record to be in a batch; None where there are no batches.
        max_grad_norm: clip, or None without privacy.
        outcome: released, aborted or open.
        update: SHA-256 (hex) of what was released.
        receipt: number of the receipt's leaf in the server's log.
    """

    entry: int
    run: str
    round: int
    purpose: str
    mechanism: str
    noise_multiplier: float | None
    sample_rate: Fraction | None
    steps: int
    max_grad_norm: float | None
    normaliser: Fraction
    sampler: str
    noise_source: str
    outcome: str
    update: str | None
    receipt: int | None


def charges(view: LedgerView) -> list[Charge]:
    """Return every charged mechanism, in order; a RESERVE of several gives several."""
    closings = {
        entry.body.reserve: (entry.sequence, entry.body)
        for entry in view.entries
        if isinstance(entry.body, Release | Abort)
    }
    receipts = {
        entry.body.release: entry.body.receipt.receipt.index
        for entry in view.entries
        if isinstance(entry.body, Acknowledged)
    }
    rows: list[Charge] = []
    for entry in view.entries:
        if isinstance(entry.body, Reserve):
            number, closing = closings.get(entry.sequence, (0, None))
            rows += _rows(entry.sequence, entry.body, closing, receipts.get(number))
    return rows


def as_csv(view: LedgerView) -> str:
    """Return the charges as comma-separated values, with a head line; fractions as "1/5"."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Charge))
    for charge in charges(view):
        writer.writerow(_cell(value) for value in asdict(charge).values())
    return text.getvalue()


def as_json(view: LedgerView) -> str:
    """Return the charges with the ledger's terms as JSON; fractions as [numerator, denominator]."""
    genesis = view.genesis
    record = {
        "ledger_id": genesis.ledger_id,
        **key_record(view.public_key),
        "head": view.head,
        "num_examples": view.num_examples,
        "delta": genesis.delta,
        "budget": genesis.budget_epsilon,
        "filter_order": genesis.filter_order,
        "charges": [
            {name: _plain(value) for name, value in asdict(charge).items()} for charge in charges(view)
        ],
    }
    return json.dumps(record, indent=1) + "\n"


def as_events(view: LedgerView) -> str:
    """Return all charges as one expression of dp-accounting's events, to compute epsilon without FedLedger.

    Equal mechanisms are joined: they cost the same, in fewer terms.
    """
    terms = "".join(f"    {event},\n" for event in _events(view))
    delta = decimal_text(view.genesis.delta)
    return (
        f"# Every mechanism that ledger {view.genesis.ledger_id} was charged, up to head {view.head}.\n"
        f"# Evaluate with dp_accounting imported, at delta {delta} and with the neighbouring relation\n"
        "# REPLACE_SPECIAL (zero-out): the number of records is public.\n"
        f"{_note(view)}"
        f"dp_accounting.ComposedDpEvent([\n{terms}])\n"
    )


def _note(view: LedgerView) -> str:
    """Say when composing is not the guarantee: plain composition needs settings fixed beforehand."""
    if view.genesis.filter_order is None:
        return ""
    return (
        "# Settings may have followed from earlier results: what holds is the budget that the filter kept.\n"
    )


def _rows(
    number: int, body: Reserve, closing: Release | Abort | None, receipt: int | None
) -> Iterator[Charge]:
    outcome = {Release: "released", Abort: "aborted", NoneType: "open"}[type(closing)]
    for mechanism in body.mechanisms:
        yield Charge(
            entry=number,
            run=body.run,
            round=body.round,
            purpose=body.purpose,
            mechanism=to_json(mechanism)["type"],
            noise_multiplier=None if isinstance(mechanism, Unprotected) else mechanism.noise_multiplier,
            sample_rate=mechanism.sample_rate if isinstance(mechanism, PoissonGaussian) else None,
            steps=mechanism.num_steps,
            max_grad_norm=body.max_grad_norm,
            normaliser=body.normaliser,
            sampler=body.sampler,
            noise_source=body.noise_source,
            outcome=outcome,
            update=closing.update if isinstance(closing, Release) else None,
            receipt=receipt,
        )


def _events(view: LedgerView) -> Iterator[str]:
    for mechanism in merge(view.mechanisms()):
        yield f"dp_accounting.SelfComposedDpEvent({_event(mechanism)}, {mechanism.num_steps})"


def _event(mechanism: Mechanism) -> str:
    """Return one step of a mechanism as dp-accounting writes it."""
    if isinstance(mechanism, Unprotected):
        return "dp_accounting.NonPrivateDpEvent()"
    noise = float(mechanism.noise_multiplier)
    match mechanism:
        case PoissonGaussian():
            rate = "{} / {}".format(*mechanism.sample_rate.as_integer_ratio())
            return f"dp_accounting.PoissonSampledDpEvent({rate}, dp_accounting.GaussianDpEvent({noise!r}))"
        case Gaussian():
            return f"dp_accounting.GaussianDpEvent({noise!r})"
        case Laplace():
            return f"dp_accounting.LaplaceDpEvent({noise!r})"
    return f"dp_accounting.dp_event.DiscreteLaplaceDpEvent(1 / {noise!r}, 1)"


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case float():
            return decimal_text(value)
    return value


def _plain(value: Any) -> Any:
    return list(value.as_integer_ratio()) if isinstance(value, Fraction) else value
