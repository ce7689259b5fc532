"""Findings in order and in groups."""

from __future__ import annotations

from common.audit.findings import count, error, grouped, most_severe_first, note, warning

_FOUND = (
    note("n", "first note", "a"),
    error("z", "first error", "b"),
    warning("w", "a warning", "c"),
    error("a", "second error", "d"),
    error("z", "third error", "e"),
)


def test_errors_come_first_and_keep_their_order() -> None:
    assert [finding.where for finding in most_severe_first(_FOUND)] == ["b", "d", "e", "c", "a"]


def test_counting_by_severity() -> None:
    assert (count(_FOUND, "error"), count(_FOUND, "warning"), count(_FOUND, "note")) == (3, 1, 1)


def test_groups_hold_findings_of_one_code() -> None:
    groups = [(group.severity, group.code, len(group.findings)) for group in grouped(_FOUND)]
    assert groups == [("error", "a", 1), ("error", "z", 2), ("warning", "w", 1), ("note", "n", 1)]
