"""What a campaign's results come to."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from typing import Any

from benchmarks.faults.plan import KINDS, VARIANTS

NEVER = ("charges lost", "double charges", "rounds of two models", "rounds lost")
"""What must not be."""

_COUNTED = (
    ("rounds", "rounds in the run folders"),
    ("rounds lost", "**rounds lost**: done, and missing in the run folder"),
    ("rounds done again", "rounds begun a second time, from the checkpoint"),
    ("rounds skipped", "rounds whose every answer was missing: the model stayed as it was"),
    ("answers asked for", "answers that finished rounds asked for"),
    ("answers missing", "of these missing: the round was finished with the others"),
    ("updates used", "updates averaged"),
    ("updates handed over", "updates handed over, those that were sent again included"),
    ("charges", "charges (RESERVE) in the clients' ledgers"),
    (
        "charges lost",
        "**charges lost**: updates trained, handed over, averaged or confirmed without a charge",
    ),
    ("double charges", "**double charges**: of a round whose update was finished and could be sent again"),
    ("rounds of two models", "charges of one round for two models"),
    ("charged and never released", "charged and never released: killed between the two, the charge stands"),
    ("of these closed by an ABORT", "of these closed by an ABORT"),
    ("rounds charged again under fresh noise", "rounds charged again after such a kill, under fresh noise"),
    ("audits", "audits of finished runs"),
    ("audits that found something", "**audits that found an error**"),
)


def figures_of(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a campaign."""
    listed = list(results)
    cases = [result for result in listed if result["type"] == "case"]
    runs = [result for result in listed if result["type"] == "run"]
    total: Counter[str] = Counter(dict.fromkeys(NEVER, 0))
    for run in runs:
        total.update(run.get("figures", {}))
    kinds = [(kind, variant) for kind in KINDS for variant in VARIANTS[kind]]
    return {
        "cases": len(cases),
        "kinds": {
            f"{k}: {v}": _of([c for c in cases if (c["kind"], c["variant"]) == (k, v)]) for k, v in kinds
        },
        "all kinds": _of(cases),
        "runs": len(runs),
        "runs completed": sum(run["completed"] for run in runs),
        "commands": sum(run["commands"] for run in runs),
        "links": sorted({run["links"] for run in runs}),
        "figures": dict(total),
        "flaws": [flaw for run in runs for flaw in [*run.get("flaws", []), *filter(None, [run["stuck"]])]],
    }


def _of(cases: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [case["recovered_seconds"] for case in cases if case["recovered_seconds"] is not None]
    return {
        "cases": len(cases),
        "recovered": len(seconds),
        "median_seconds": round(statistics.median(seconds), 1) if seconds else None,
        "max_seconds": round(max(seconds), 1) if seconds else None,
    }


def in_words(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = [
        f"| {name} | {found['cases']} | {_shown(found['median_seconds'])} | {_shown(found['max_seconds'])} |"
        for name, found in [*figures["kinds"].items(), ("all", figures["all kinds"])]
    ]
    head = ["| fault | cases | to the next finished round: median s | most s |", "|---|---|---|---|"]
    runs = f"| runs, of which completed | {figures['runs']}, {figures['runs completed']} |"
    commands = f"| commands `fedledger run` and `run --resume` that they took | {figures['commands']} |"
    lines = [f"| {words} | {figures['figures'].get(name, 0)} |" for name, words in _COUNTED]
    return "\n".join([*head, *rows, "", "| counted | |", "|---|---|", runs, commands, *lines])


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"
