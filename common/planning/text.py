"""A plan as a screen of plain text, and as JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from common.audit.claim import CLAIM
from common.audit.wording import CROSS_CHECK, epsilon_text
from common.planning.cautions import MEASURED, cautions, cohort_text, meaning, ratio_text
from common.planning.plan import GroupPlan, Plan
from common.planning.terminal_chart import column_chart
from common.planning.wording import (
    CLAIM_TEXT,
    delta_up_text,
    headline,
    noise_text,
    notes_on_claim,
    rate_text,
    rounds_text,
)
from common.words import counted

SCHEMA = "fedledger-plan/1"
MOST_GROUPS = 20
_WIDEST, _NARROWEST = 64, 16


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column of the table: its name, what it means where the name does not say, and its cells."""

    name: str
    write: Callable[[GroupPlan], str]
    meaning: str = ""


_CLIENTS = _Column(name="clients", write=lambda group: f"{group.count:,}", meaning="in all")
_COLUMNS = (
    _CLIENTS,
    _Column(name="examples", write=lambda group: f"{group.num_examples:,}", meaning="n, of each such client"),
    _Column(
        name="delta",
        write=lambda group: delta_up_text(group.delta),
        meaning="chance that the limit does not hold",
    ),
    _Column(
        name="q",
        write=lambda group: rate_text(group.sample_rate),
        meaning="chance that an example is in a step",
    ),
    _Column(
        name="batch",
        write=lambda group: f"{group.expected_batch:,.4g}",
        meaning="examples expected in a step",
    ),
    _Column(
        name="noise",
        write=lambda group: noise_text(group.noise_multiplier),
        meaning="standard deviation of the noise over the clip",
    ),
    _Column(name="rounds", write=rounds_text, meaning="planned"),
    _Column(
        name="own",
        write=lambda group: f"{group.own_rounds:,}",
        meaning="rounds in which such a client is asked, on average",
    ),
    _Column(
        name="epsilon",
        write=lambda group: epsilon_text(group.epsilon, 4, budget=group.budget),
        meaning="spent after the last round (PLD)",
    ),
    _Column(
        name="check",
        write=lambda group: "-" if group.epsilon_rdp is None else epsilon_text(group.epsilon_rdp),
        meaning=f"the same {CROSS_CHECK}",
    ),
    _Column(
        name="unamplified",
        write=lambda group: epsilon_text(group.epsilon_unamplified),
        meaning="if random batches gave no extra protection",
    ),
    _Column(
        name="noise/signal",
        write=lambda group: ratio_text(group.noise_to_signal),
        meaning="of one step: the noise over the longest possible signal",
    ),
)


def as_text(plan: Plan, *, width: int = 80, ascii_only: bool = False) -> str:
    """Return the answer, the table, the chart, what it means for learning, and the claim.

    Args:
        width: columns of the terminal.
        ascii_only: for terminals that lack block characters.
    """
    parts = [
        [_wrap(f"{headline(plan)}.", width)],
        _figures(plan),
        _chart(plan, width, ascii_only),
        [_wrap(line, width) for line in _learning(plan)],
        _other_rounds(plan),
        [_wrap(f"! {line}", width, "  ") for line in cautions(plan)],
        [_wrap(line, width) for line in (CLAIM_TEXT, *notes_on_claim(plan))],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def as_record(plan: Plan) -> dict[str, Any]:
    """Return the plan for programs; an infinite number becomes null, an exact fraction a pair."""
    record: dict[str, Any] = _plain(asdict(plan))
    question = record.pop("question")
    del question["holdings"]
    cohort = {
        "clients": plan.question.num_clients,
        "asked": plan.question.asked,
        "answering": plan.question.answering,
    }
    return {
        "schema": SCHEMA,
        "asked_for": plan.question.unknown,
        "answer": headline(plan),
        "fits": plan.fits,
        "question": question,
        "cohort": cohort if plan.question.whole_federation else None,
        **record,
        "meaning": meaning(plan),
        "cautions": list(cautions(plan)),
        "claim": asdict(CLAIM),
    }


def shown_groups(groups: Sequence[GroupPlan]) -> list[GroupPlan]:
    """Return the groups that a page or screen has room for: all, or evenly spaced ones."""
    if len(groups) <= MOST_GROUPS:
        return list(groups)
    return [groups[round(index * (len(groups) - 1) / (MOST_GROUPS - 1))] for index in range(MOST_GROUPS)]


def _figures(plan: Plan) -> list[str]:
    """List every figure with its meaning: the value that all clients share, or a column of a table below."""
    groups = shown_groups(plan.groups)
    columns = [column for column in _COLUMNS if column.name != "own" or plan.question.share < 1]
    cells = {column: [column.write(group) for group in groups] for column in columns}
    varying = [column for column in columns if len(set(cells[column])) > 1]
    common = {column: "below" if column in varying else cells[column][0] for column in columns}
    common[_CLIENTS] = f"{plan.question.num_clients:,}"
    width = max(len(value) for value in common.values())
    facts = [f"{c.name:<13} {common[c]:>{width}}   {c.meaning}".rstrip() for c in columns]
    if not varying:
        return facts
    varying = list(dict.fromkeys([_CLIENTS, *varying]))
    rows = [[cells[column][index] for column in varying] for index in range(len(groups))]
    return [*facts, "", *_table([column.name for column in varying], rows), *_left_out(plan, len(groups))]


def _left_out(plan: Plan, shown: int) -> list[str]:
    more = len(plan.groups) - shown
    return [f"and {counted(more, 'more kind')} of clients between these; --json has all"] if more else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in (head, *rows)
    ]


def _chart(plan: Plan, width: int, ascii_only: bool) -> list[str]:
    group = highest(plan)
    if group is None:
        return []
    columns = max(_NARROWEST, min(_WIDEST, width - 18))
    who = f" of a client with {group.num_examples:,} examples" if len(plan.groups) > 1 else ""
    drawing = column_chart(group.curve, budget=group.budget, width=columns, ascii_only=ascii_only)
    return [f"Epsilon{who} after each round", *drawing]


def highest(plan: Plan) -> GroupPlan | None:
    """Return the group that spends most among those whose curve can be drawn."""
    drawable = [group for group in plan.groups if len(group.curve) > 1 and math.isfinite(group.epsilon)]
    return max(drawable, key=lambda group: group.epsilon, default=None)


def _learning(plan: Plan) -> list[str]:
    lines = [meaning(plan)]
    if plan.average is not None:
        lines.append(cohort_text(plan.question))
    if plan.altogether is not None:
        lines.append(
            f"Over all rounds it falls to {ratio_text(plan.altogether)}, if all updates pull one way."
        )
    return [" ".join(lines), MEASURED]


def _other_rounds(plan: Plan) -> list[str]:
    if not plan.other_rounds:
        return []
    head = ["rounds", "noise", "noise/signal"]
    head += ["of an average", "over all rounds"] if plan.average is not None else []
    rows = [
        [
            f"{other.rounds:,}",
            noise_text(other.noise_multiplier),
            ratio_text(other.noise_to_signal),
            *(ratio_text(ratio) for ratio in (other.average, other.altogether) if ratio is not None),
            "<- this plan" if other.planned else "",
        ]
        for other in plan.other_rounds
    ]
    whose = "" if len(plan.groups) == 1 else " (for clients that need most)"
    return [
        f"The same budget over other numbers of rounds{whose}",
        *(line.rstrip() for line in _table([*head, ""], rows)),
    ]


def _wrap(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(text, max(width, 40), subsequent_indent=indent, break_long_words=False)


def _plain(value: Any) -> Any:
    match value:
        case Fraction():
            return [value.numerator, value.denominator]
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value
