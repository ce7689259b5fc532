"""A sweep's outcome in words: the table on the screen, and what choosing by it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.audit.wording import delta_text, epsilon_text
from common.config import resolve
from common.words import counted
from simulations.sweep.outcome import Outcome, Row, spread_text
from simulations.sweep.plan import SweepPlan

HEADINGS = ("settings", "accuracy", "runs", "rounds", "epsilon", "audit", "a run took")


def table_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """Return one row of cells for each of the settings, under `HEADINGS`."""
    return [_cells(row) for row in outcome.rows]


def _cells(row: Row) -> tuple[str, ...]:
    if not row.results:
        return (row.label, "failed", "0", "", "", "", "")
    return (
        row.label,
        spread_text(row.accuracies),
        f"{len(row.results)}",
        f"{row.rounds}",
        epsilon_text(row.epsilon, 4),
        "verified" if row.verified else "NOT verified",
        f"{row.seconds:.0f} s",
    )


def as_text(outcome: Outcome) -> str:
    """Return the outcome as a screen of plain text."""
    lines = _columns([HEADINGS, *table_rows(outcome)]) if outcome.rows else []
    lines += ["", *privacy_lines(outcome)]
    lines += [f"{name} failed: {reason}" for name, reason in outcome.failures]
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def headline(outcome: Outcome) -> str:
    """Say in a sentence what was found."""
    best = outcome.best
    if best is None:
        return "No settings have an accuracy"
    among = counted(len(outcome.plan.candidates), "setting")
    return f"Best of {among}: {best.label}, accuracy {spread_text(best.accuracies)}"


def privacy_lines(outcome: Outcome) -> list[str]:
    """Say what choosing by these results costs, and what is only claimed."""
    return [*_cost(outcome), *_images(outcome)]


def _cost(outcome: Outcome) -> Iterator[str]:
    plan, runs = outcome.plan, counted(outcome.number_of_runs, "run")
    stamp = resolve(plan.base).stamp
    if stamp:
        yield f"{stamp}: nothing is protected here, so there is nothing to charge."
    elif plan.charge == "selection":
        yield from _selection(outcome)
    elif outcome.composed is not None:
        yield (
            f"Together the {counted(outcome.composed.runs, 'run')} cost epsilon "
            f"{epsilon_text(outcome.composed.epsilon, 4)} at delta {delta_text(outcome.composed.delta)}: the "
            "accountant composed every charge in their ledgers. Whoever chooses settings by this table has "
            "spent that on the training images, and any earlier sweep comes on top."
        )
    else:
        yield (
            f"Choosing by this table is not charged. Each epsilon counts one run alone, though {runs} "
            "trained on these images and tell of them."
        )
        yield (
            "That is right for settings chosen on public data, used afterwards on private images. Where the "
            "training images are private, --charge sum says what all runs together cost."
        )


def _selection(outcome: Outcome) -> Iterator[str]:
    if outcome.composed is None:
        yield "No trial was drawn, as happens by chance, so there is nothing to release."
        return
    repeats = outcome.plan.repeats
    drawn = "" if repeats is None else f"{repeats.distribution}, mean {repeats.mean:g}"
    yield (
        f"Releasing the best run costs epsilon {epsilon_text(outcome.composed.epsilon, 4)} at delta "
        f"{delta_text(outcome.composed.delta)} (Renyi; Papernot and Steinke 2022; trials: {drawn}). "
        "The run's own report counts that run alone."
    )
    yield (
        "This holds against whoever sees the released run only. How many trials there were is secret and "
        "deleted, but how long the search took is not hidden, and whoever watched the machine, as a real "
        "federation's server does, saw every trial: against them all trials compose."
    )


def _images(outcome: Outcome) -> Iterator[str]:
    if outcome.images:
        yield (
            f"Images: {outcome.images}. Accuracy is on the test images, which nothing protects; that they "
            "are public is your claim."
        )


def warnings_before(plan: SweepPlan) -> list[str]:
    """Say before the first run what the search will cost."""
    if plan.charge == "selection":
        return ["Trials go on unseen: neither how many there are nor what they give is shown."]
    if plan.charge == "sum" or resolve(plan.base).stamp:
        return []
    return [
        "Choosing settings by results on private images costs budget beyond the single run. Nothing is "
        "charged for it here (--charge none): right where settings are chosen on public data."
    ]
