"""The command that prints a ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from common.ledger.chain import LedgerView, read_ledger
from common.ledger.entries import Reserve
from common.ledger.entry_json import body_to_json
from common.privacy.mechanisms import PoissonGaussian, to_json


def show(
    file: Annotated[Path, typer.Argument(help="A ledger, such as RUN/ledgers/client-0.jsonl.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Verify a ledger and print its entries."""
    view = read_ledger(file)
    typer.echo(json.dumps(as_record(view), indent=1) if as_json else as_text(view))


def as_record(view: LedgerView) -> dict[str, Any]:
    """Return a ledger for programs: its facts, each charged mechanism, and the raw entries."""
    genesis = view.genesis
    return {
        "ledger_id": genesis.ledger_id,
        "num_examples": genesis.num_examples,
        "delta": genesis.delta,
        "budget": genesis.budget_epsilon,
        "head": view.head,
        "mechanisms": [charged for reserve in view.reservations() for charged in _charges(reserve)],
        "entries": [json.loads(line)["entry"] for line in view.lines],
    }


def as_text(view: LedgerView) -> str:
    """Return a ledger for people, one entry a line."""
    lines = [f"{len(view.entries)} entries, all verified; head {view.head}"]
    for entry in view.entries:
        fields = body_to_json(entry.body)
        kind = fields.pop("type")
        words = " ".join(f"{name}={_short(value)}" for name, value in fields.items() if name != "libraries")
        lines.append(f"{entry.sequence:5d} {kind:8s} {words}")
    return "\n".join(lines)


def _charges(reserve: Reserve) -> list[dict[str, Any]]:
    charges = []
    for mechanism in reserve.mechanisms:
        charge = to_json(mechanism) | {"run": reserve.run, "round": reserve.round}
        if isinstance(mechanism, PoissonGaussian):
            charge["noise_multiplier"] = mechanism.noise_multiplier
        charges.append(charge)
    return charges


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text if len(text) <= 100 else f"{text[:12]}..."
