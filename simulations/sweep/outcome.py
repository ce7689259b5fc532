"""What a sweep found: one row for each of the settings, its seeds taken together, the best first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from common.config import Settings
from simulations.sweep.axes import label
from simulations.sweep.charge import Composed
from simulations.sweep.folder import Result, SweepFolder
from simulations.sweep.plan import SweepPlan, SweepRun


@dataclass(frozen=True, kw_only=True)
class Row:
    """Settings with the results of their runs.

    Args:
        results: one a seed, of those that did not fail.
        failures: label and reason of each run that failed.
        run: name of the one run behind it that private selection releases.
    """

    candidate: int
    settings: Settings
    results: tuple[Result, ...]
    failures: tuple[tuple[str, str], ...]
    run: str = ""

    @property
    def label(self) -> str:
        """The settings as one text."""
        return label(self.settings)

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Accuracy of each run that has one."""
        return tuple(result.accuracy for result in self.results if result.accuracy is not None)

    @property
    def mean(self) -> float:
        """Mean accuracy; not a number where there is none."""
        return statistics.mean(self.accuracies) if self.accuracies else math.nan

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds; None of a single run."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def rounds(self) -> int:
        """Rounds that every run has done."""
        return min((result.rounds for result in self.results), default=0)

    @property
    def epsilon(self) -> float:
        """Largest of the runs, each by itself; infinite where one is not limited."""
        known = [math.inf if result.epsilon is None else result.epsilon for result in self.results]
        return max(known, default=math.nan)

    @property
    def verified(self) -> bool:
        """Whether each run's audit found no error."""
        return all(result.verified for result in self.results)

    @property
    def seconds(self) -> float:
        """How long a run took, on average."""
        return statistics.mean(result.seconds for result in self.results) if self.results else 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A sweep that is through.

    Args:
        rows: the best first; settings that halving left behind come after those that went further, and
            settings of which a run failed last.
        composed: what all runs cost together, or for private selection what the released one costs; None
            where that was not asked for.
    """

    plan: SweepPlan
    rows: tuple[Row, ...]
    composed: Composed | None

    @property
    def best(self) -> Row | None:
        """The row to choose; None where nothing has an accuracy."""
        first = next(iter(self.rows), None)
        return first if first and first.accuracies and not first.failures else None

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Label and reason of every run that failed."""
        return tuple(failure for row in self.rows for failure in row.failures)

    @property
    def images(self) -> str:
        """Which images the runs were trained and tested on; several where data settings were compared."""
        found = dict.fromkeys(result.images for row in self.rows for result in row.results if result.images)
        return "; ".join(found)

    @property
    def number_of_runs(self) -> int:
        """Runs that did not fail."""
        return sum(len(row.results) for row in self.rows)

    @property
    def clean(self) -> bool:
        """Whether no run failed and every audit found no error."""
        return not self.failures and all(row.verified for row in self.rows)


def collect(plan: SweepPlan, folder: SweepFolder, charged: Composed | None) -> Outcome:
    """Read what all runs of a sweep have come to."""
    rows = [
        _row(candidate, settings, [run for run in plan.runs if run.candidate == candidate], folder)
        for candidate, settings in enumerate(plan.candidates, 1)
    ]
    return Outcome(plan=plan, rows=tuple(sorted(rows, key=_rank(plan))), composed=charged)


def _row(candidate: int, settings: Settings, runs: Sequence[SweepRun], folder: SweepFolder) -> Row:
    found = [(run, result) for run in runs if (result := folder.result(run.name))]
    return Row(
        candidate=candidate,
        settings=settings,
        results=tuple(result for _, result in found if not result.failed),
        failures=tuple((run.label, result.failed) for run, result in found if result.failed),
    )


def _rank(plan: SweepPlan) -> Any:
    def rank(row: Row) -> tuple[bool, int, float]:
        went = -row.rounds if plan.strategy == "halving" else 0
        return bool(row.failures) or not row.accuracies, went, -row.mean if row.accuracies else 0.0

    return rank


def to_json(outcome: Outcome) -> dict[str, Any]:
    """Return the content of sweep.json; a number that is not finite becomes null."""
    return {
        "schema": "fedledger-sweep/1",
        **outcome.plan.to_json(),
        "images": outcome.images,
        "best": None if outcome.best is None else outcome.best.candidate,
        "settings": [_row_json(row) for row in outcome.rows],
        "cost": None if outcome.composed is None else _cost_json(outcome.composed),
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "number": row.candidate,
        "settings": row.settings,
        "accuracy": _finite(row.mean),
        "deviation": row.deviation,
        "accuracies": list(row.accuracies),
        "rounds": row.rounds,
        "epsilon": _finite(row.epsilon),
        "verified": row.verified,
        "seconds": round(row.seconds, 1),
        "failures": [{"run": name, "reason": reason} for name, reason in row.failures],
    }


def _cost_json(cost: Composed) -> dict[str, Any]:
    return {"epsilon": _finite(cost.epsilon), "delta": cost.delta}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def spread_text(values: Iterable[float]) -> str:
    """Write a mean accuracy and its standard deviation, such as `70.81 ± 0.12 %`."""
    known = list(values)
    if not known:
        return "none"
    deviation = f" ± {100 * statistics.stdev(known):.2f}" if len(known) > 1 else ""
    return f"{100 * statistics.mean(known):.2f}{deviation} %"
