"""A ledger as people read it, one entry a line, and as programs do."""

from __future__ import annotations

import base64
import json
from typing import Any

from common.ledger.chain import LedgerView
from common.ledger.entries import Abort, Acknowledged, Amend, Body, Genesis, KeyRotate, Release, Reserve
from common.ledger.entry_json import body_to_json
from common.ledger.keys import fingerprint
from common.privacy.decimals import decimal_text
from common.privacy.mechanisms import Mechanism, to_json
from common.words import counted


def as_record(view: LedgerView) -> dict[str, Any]:
    """Return a ledger for programs: its facts, each charged mechanism, and the raw entries."""
    genesis = view.genesis
    return {
        "ledger_id": genesis.ledger_id,
        "num_examples": view.num_examples,
        "delta": genesis.delta,
        "budget": genesis.budget_epsilon,
        "filter_order": genesis.filter_order,
        "commitments": list(view.commitments),
        **key_record(view.public_key),
        "head": view.head,
        "unconfirmed": sorted(view.unconfirmed),
        "mechanisms": [charged for reserve in view.reservations() for charged in _charges(reserve)],
        "entries": [json.loads(line)["entry"] for line in view.lines],
    }


def as_text(view: LedgerView) -> str:
    """Return a ledger for people: what it is, and one entry a line."""
    genesis = view.genesis
    lines = [
        f"{counted(len(view.entries), 'entry', 'entries')}, all verified; head {view.head}",
        f"ledger {genesis.ledger_id}: {_terms(genesis)}; now {view.num_examples} examples, "
        f"key {fingerprint(view.public_key)}",
    ]
    for entry in view.entries:
        kind = body_to_json(entry.body)["type"]
        lines.append(f"{entry.sequence:5d} {kind:10s} {_words(entry.body)}")
    return "\n".join(lines)


def key_record(public_key: bytes) -> dict[str, str]:
    """Return a public key for programs."""
    return {
        "public_key": base64.b64encode(public_key).decode("ascii"),
        "fingerprint": fingerprint(public_key),
    }


def printable(text: str) -> str:
    """Replace control characters, with which a file name could rewrite the terminal or break a line."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _charges(reserve: Reserve) -> list[dict[str, Any]]:
    charges = []
    for mechanism in reserve.mechanisms:
        charge = to_json(mechanism) | {"run": reserve.run, "round": reserve.round}
        if "noise_multiplier" in charge:
            charge["noise_multiplier"] = float(charge["noise_multiplier"])
        charges.append(charge)
    return charges


def _words(body: Body) -> str:  # noqa: PLR0911 - one return a kind reads best
    """Say what an entry says."""
    match body:
        case Genesis():
            return (
                f"{_terms(body)}, {body.num_examples} examples, data {_short(body.commitment)}, "
                f"key {fingerprint(body.public_key)}"
            )
        case Amend():
            return f"now {body.num_examples} examples, data {_short(body.commitment)}"
        case Reserve():
            return _charge(body)
        case Release():
            return f"{_of_round(body)}, entry {body.reserve}: update {_short(body.update)}"
        case Abort():
            return f"{_of_round(body)}, entry {body.reserve}: {body.reason}; the charge stays"
        case Acknowledged():
            receipt, held = body.receipt.receipt, body.checkpoint
            return f"entry {body.release} is leaf {receipt.index} of {receipt.origin}, size {held.size} then"
        case KeyRotate():
            return f"from here on key {fingerprint(body.public_key)}"


def _terms(genesis: Genesis) -> str:
    if genesis.budget_epsilon is None:
        return f"no budget, delta {decimal_text(genesis.delta)}"
    order = genesis.filter_order
    settings = "fixed settings" if order is None else f"a filter at order {decimal_text(order)}"
    budget = decimal_text(genesis.budget_epsilon)
    return f"budget epsilon {budget} at delta {decimal_text(genesis.delta)}, {settings}"


def _charge(body: Reserve) -> str:
    mechanisms = " and ".join(_mechanism(mechanism) for mechanism in body.mechanisms)
    clip = "no clip" if body.max_grad_norm is None else f"clip {decimal_text(body.max_grad_norm)}"
    versions = " ".join(f"{name} {version}" for name, version in body.libraries.items())
    return (
        f"{_of_round(body)}, {body.purpose}: {mechanisms}; {clip}, normaliser {body.normaliser}, "
        f"sampler {body.sampler}, noise {body.noise_source}; model {_short(body.input_model)}, "
        f"nonce {_short(body.server_nonce)}, code {_short(body.code_digest)}; {versions}"
    ).removesuffix("; ")


def _mechanism(mechanism: Mechanism) -> str:
    value = to_json(mechanism)
    words = [value["type"]]
    if "noise_multiplier" in value:
        words.append(f"noise multiplier {value['noise_multiplier']}")
    if "sample_rate" in value:
        words.append("sample rate {}/{}".format(*value["sample_rate"]))
    return " ".join([*words, f"steps {value['steps']}"])


def _of_round(body: Reserve | Release | Abort) -> str:
    return f"run {body.run} round {body.round}"


def _short(digest: str) -> str:
    return f"{digest[:12]}..."
