"""A comparison of runs as a table of plain text, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from common.audit.wording import delta_text, epsilon_text, percent_text
from common.comparing.runs import RunFigures

HEADINGS = ("run", "accuracy", "epsilon (audited)", "delta", "clients", "rounds", "time", "audit")


def cells(run: RunFigures) -> tuple[str, ...]:
    """Return a run's row under `HEADINGS`."""
    finite = math.isfinite(run.epsilon)
    return (
        run.kind,
        percent_text(run.accuracy, 2),
        epsilon_text(run.epsilon, 4),
        delta_text(run.delta) if finite else "",
        f"{run.clients:,}",
        f"{run.rounds:,}",
        f"{run.seconds:,.0f} s",
        "verified" if run.verified else "NOT verified",
    )


def as_text(runs: Sequence[RunFigures]) -> str:
    """Return the table, and the folder of each run below it."""
    rows = [HEADINGS, *(cells(run) for run in runs)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += ["", *(f"{run.kind}: {run.name}" for run in runs), "", difference(runs)]
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines).rstrip()


def difference(runs: Sequence[RunFigures]) -> str:
    """Say how far the first and the second run are apart; empty where that is not known."""
    first, second = runs[0].accuracy, runs[1].accuracy
    if first is None or second is None:
        return ""
    points = 100 * (second - first)
    side = "above" if points >= 0 else "below"
    return f"The accuracy of {runs[1].kind} is {abs(points):.2f} points {side} that of {runs[0].kind}."


def as_record(runs: Sequence[RunFigures]) -> list[dict[str, Any]]:
    """Return the comparison for programs; an epsilon without limit is null."""
    return [
        asdict(run)
        | {
            "accuracy": run.accuracy,
            "epsilon": run.epsilon if math.isfinite(run.epsilon) else None,
            "stamp": run.stamp or None,
        }
        for run in runs
    ]
