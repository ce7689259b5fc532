"""What is compared of a run, read by auditing its folder anew."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.audit.auditor import inspect_run
from common.audit.report import AuditReport, verdict
from common.audit.wording import budget_text
from common.errors import CheckpointError, ConfigError
from common.planning.drawing import MOST_SERIES
from common.run_folder import RunFolder
from common.words import counted


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """One run as it stands in a comparison.

    Args:
        name: its folder's, as it was given.
        kind: how it was trained, such as `10 clients, epsilon 8.00`.
        accuracies: (round, accuracy) of each round with one.
        epsilon: largest of all clients, audited; infinite without protection.
        seconds: that all rounds took, by the server's clock.
        stamp: the words that a run without a guarantee carries; empty for a private run.
    """

    name: str
    kind: str
    accuracies: tuple[tuple[int, float], ...]
    clients: int
    rounds: int
    epsilon: float
    delta: float
    verified: bool
    verdict: str
    seconds: float
    stamp: str

    @property
    def accuracy(self) -> float | None:
        """Accuracy after the last round."""
        return self.accuracies[-1][1] if self.accuracies else None


def read_runs(paths: Sequence[Path]) -> tuple[RunFigures, ...]:
    """Audit run folders without writing to them.

    Raises:
        ConfigError: when there are fewer than two or more than six, or one twice.
        CheckpointError: when one is no run's folder.
    """
    if not 2 <= len(paths) <= MOST_SERIES:
        raise ConfigError(
            f"{counted(len(paths), 'run')} cannot be compared in one chart: name 2 to {MOST_SERIES}"
        )
    for path in paths:
        if [other.resolve() for other in paths].count(path.resolve()) > 1:
            raise ConfigError(f"{path} is named twice: name each run once")
    runs = [_read(path) for path in paths]
    kinds = [run.kind for run in runs]
    return tuple(run if kinds.count(run.kind) == 1 else _with_its_name(run) for run in runs)


def _read(path: Path) -> RunFigures:
    report = inspect_run(path)
    known = [(entry.round, entry.accuracy) for entry in report.rounds if math.isfinite(entry.accuracy)]
    return RunFigures(
        name=str(path),
        kind=_kind(report),
        accuracies=tuple(known),
        clients=len(report.clients),
        rounds=len(report.rounds),
        epsilon=report.epsilon if report.private else math.inf,
        delta=report.delta,
        verified=report.verified,
        verdict=verdict(report),
        seconds=_seconds(RunFolder(path).rounds),
        stamp=report.stamp,
    )


def _kind(report: AuditReport) -> str:
    clients = len(report.clients)
    who = "one pool" if clients == 1 else f"{clients:,} clients"
    budgets = report.budgets
    protection = f"epsilon {budget_text(max(budgets))}" if report.private and budgets else "no privacy"
    return f"{who}, {protection}"


def _with_its_name(run: RunFigures) -> RunFigures:
    return replace(run, kind=f"{Path(run.name).resolve().name}: {run.kind}")


def _seconds(file: Path) -> float:
    """Add up what the server wrote of each round's time, which no audit vouches for."""
    lines = file.read_text(encoding="utf-8").split("\n") if file.exists() else []
    try:
        records: list[dict[str, Any]] = [json.loads(line) for line in lines if line]
        return float(sum(record.get("seconds", 0.0) for record in records))
    except (ValueError, TypeError, AttributeError):
        raise CheckpointError(f"{file} is damaged: put it back") from None
