"""What a campaign's results come to."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from typing import Any

from benchmarks.faults.plan import KINDS

NEVER = ("charges lost", "double charges", "rounds of two models", "rounds lost")
"""What must not be."""


def figures_of(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a campaign."""
    listed = list(results)
    cases = [result for result in listed if result["type"] == "case"]
    runs = [result for result in listed if result["type"] == "run"]
    total: Counter[str] = Counter(dict.fromkeys(NEVER, 0))
    for run in runs:
        total.update(run.get("figures", {}))
    return {
        "cases": len(cases),
        "kinds": {kind: _of_kind([case for case in cases if case["kind"] == kind]) for kind in KINDS},
        "all kinds": _of_kind(cases),
        "runs": len(runs),
        "runs completed": sum(run["completed"] for run in runs),
        "commands": sum(run["commands"] for run in runs),
        "links": sorted({run["links"] for run in runs}),
        "figures": dict(total),
        "flaws": [flaw for run in runs for flaw in [*run.get("flaws", []), *filter(None, [run["stuck"]])]],
    }


def _of_kind(cases: list[dict[str, Any]]) -> dict[str, Any]:
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
        f"| {kind} | {found['cases']} | {found['median_seconds']} | {found['max_seconds']} |"
        for kind, found in [*figures["kinds"].items(), ("all", figures["all kinds"])]
    ]
    head = ["| fault | cases | median s | most s |", "|---|---|---|---|"]
    counted = {"runs": figures["runs"], "runs completed": figures["runs completed"], **figures["figures"]}
    lines = [f"| {name} | {value} |" for name, value in counted.items()]
    return "\n".join([*head, *rows, "", "| counted | |", "|---|---|", *lines])
