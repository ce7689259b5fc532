"""A comparison of two reports in words: for the screen, and for a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from common.audit.diff import Change, Comparison, Kind, Relation
from common.audit.html import fill
from common.audit.report_files import FindingRecord
from common.audit.wording import delta_text, epsilon_text, percent_text
from common.words import counted

MOST_ROWS = 20
_WIDEST = 46

_RELATIONS: dict[Relation, tuple[str, str]] = {
    "forked": (
        "ledger FORKED: neither goes on from the other, so one of the two was written anew",
        "ledgers FORKED: neither goes on from the other, so one of each two was written anew",
    ),
    "same": ("ledger is the same in both", "ledgers are the same in both"),
    "continued": (
        "ledger goes on in B from where it was in A, so B's epsilon contains A's",
        "ledgers go on in B from where they were in A, so B's epsilons contain A's",
    ),
    "earlier": (
        "ledger goes on in A from where it was in B, so A's epsilon contains B's",
        "ledgers go on in A from where they were in B, so A's epsilons contain B's",
    ),
    "unknown": (
        "ledger has another head in B; name run folders instead of report.json to see whether it goes on",
        "ledgers have other heads in B; name run folders instead of report.json to see whether they go on",
    ),
}


_WRITERS: dict[Kind, Callable[[Any], str]] = {
    "delta": delta_text,
    "share": lambda share: percent_text(share, 2),
    "count": lambda number: f"{number:,}",
    "text": lambda value: {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value),
}


def as_text(comparison: Comparison) -> str:
    """Return a comparison as a screen of plain text."""
    lines = [f"A  {comparison.first}", f"B  {comparison.second}", ""]
    lines += _table("", comparison.outcome)
    for title, changes in sections(comparison):
        lines += ["", *_table(title, changes)]
    lines += ["", *_findings("Only in B", comparison.new_findings)]
    lines += _findings("Only in A", comparison.gone_findings)
    lines += ["", "Ledgers", *(f"  {sentence}" for sentence in about_ledgers(comparison))]
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def as_page(comparison: Comparison) -> str:
    """Return a comparison as one self-contained page."""
    return fill(
        "diff.html.j2",
        {
            "comparison": comparison,
            "sections": sections(comparison),
            "ledgers": about_ledgers(comparison),
            "value": value_text,
            "difference": difference_text,
        },
    )


def sections(comparison: Comparison) -> list[tuple[str, tuple[Change, ...]]]:
    """Return what differs besides the outcome, under headings; equal parts are left out."""
    paired = "" if comparison.ledgers else ", paired by number though their ledgers differ"
    parts = [
        (f"Epsilon of clients{paired}", comparison.clients),
        ("Recall of classes", comparison.classes),
        ("Settings", comparison.settings),
        ("Mechanism", comparison.mechanism),
        ("Versions and code", comparison.versions),
    ]
    return [(title, changes) for title, changes in parts if changes]


def about_ledgers(comparison: Comparison) -> list[str]:
    """Say whether the two reports are about the same data, and what follows for their epsilons."""
    if not comparison.ledgers:
        return [
            "No ledger is in both, so nothing shows that they are about the same data.",
            "If they are, their epsilons compose: together more was spent than either report says.",
        ]
    sentences = []
    for relation, words in _RELATIONS.items():
        clients = [pair.first_client for pair in comparison.ledgers if pair.relation == relation]
        if clients:
            some = ", ".join(str(client) for client in clients[:MOST_ROWS])
            more = ", ..." if len(clients) > MOST_ROWS else ""
            who = "client" if len(clients) == 1 else "clients"
            sentences.append(f"{counted(len(clients), *words)} ({who} {some}{more} of A).")
    for name, number in (("A", comparison.only_first), ("B", comparison.only_second)):
        if number:
            sentences.append(f"{counted(number, 'ledger')} only in {name}.")
    return sentences


def value_text(kind: Kind, value: Any) -> str:
    """Write one value of a change."""
    if kind == "epsilon":
        return epsilon_text(math.inf if value is None else value, 4)
    return "none" if value is None else _WRITERS[kind](value)


def difference_text(change: Change) -> str:
    """Write by how much a number changed; empty where that says nothing."""
    first, second = change.first, change.second
    if not change.differs or first is None or second is None:
        return ""
    match change.kind:
        case "epsilon":
            return f"{second - first:+.4f}"
        case "share":
            return f"{100 * (second - first):+.2f} points"
        case "count":
            return f"{second - first:+,}"
    return ""


def _table(title: str, changes: Sequence[Change]) -> list[str]:
    shown = sorted(changes, key=_size, reverse=True)[:MOST_ROWS] if len(changes) > MOST_ROWS else changes
    names = max([18, *(len(change.name) for change in shown)])
    values = max([12, *(len(first) for first, _ in map(_values, shown) if len(first) <= _WIDEST)])
    lines = [title] if title else []
    for change in shown:
        first, second = _values(change)
        if max(len(first), len(second)) > _WIDEST:
            said = second if change.differs else "the same"
            lines += [f"  {change.name}", f"    A  {first}", f"    B  {said}"]
        else:
            row = f"  {change.name:<{names}}  {first:<{values}}  {second:<12}  {difference_text(change)}"
            lines.append(row.rstrip())
    if len(shown) < len(changes):
        lines.append(f"  and {len(changes) - len(shown):,} more; --json has all")
    return lines


def _values(change: Change) -> tuple[str, str]:
    return value_text(change.kind, change.first), value_text(change.kind, change.second)


def _size(change: Change) -> float:
    numbers = [value for value in (change.first, change.second) if isinstance(value, int | float)]
    return abs(numbers[1] - numbers[0]) if len(numbers) == 2 else math.inf


def _findings(title: str, findings: Sequence[FindingRecord]) -> list[str]:
    if not findings:
        return []
    return [f"{title}:", *_some(f"  {f.severity}: {f.message} [{f.where}]" for f in findings)]


def _some(lines: Iterable[str]) -> Iterator[str]:
    listed = list(lines)
    yield from listed[:MOST_ROWS]
    if len(listed) > MOST_ROWS:
        yield f"  and {len(listed) - MOST_ROWS:,} more; --json has all"
