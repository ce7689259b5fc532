"""What an audit found: one sentence each, with a stable code and a place to look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from common.audit.codes import Severity

_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One observation about a run folder.

    Args:
        code: stable name in kebab case, for programs.
        severity: an error refutes the claim, a warning weakens trust in it, a note is good to know.
        message: one sentence for a reader who knows no differential privacy.
        where: file, and entry or round, in which it shows.
    """

    code: str
    severity: Severity
    message: str
    where: str


@dataclass(frozen=True, kw_only=True)
class FindingGroup:
    """Findings of one code, shown together because a large federation repeats them."""

    code: str
    severity: Severity
    findings: tuple[Finding, ...]


def error(code: str, message: str, where: str) -> Finding:
    """Make a finding that refutes the claim."""
    return Finding(code=code, severity="error", message=message, where=where)


def warning(code: str, message: str, where: str) -> Finding:
    """Make a finding that weakens trust in the claim."""
    return Finding(code=code, severity="warning", message=message, where=where)


def note(code: str, message: str, where: str) -> Finding:
    """Make a finding that is good to know."""
    return Finding(code=code, severity="note", message=message, where=where)


def most_severe_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order by severity; equal severities keep the order in which they were found."""
    return tuple(sorted(findings, key=lambda finding: _RANK[finding.severity]))


def count(findings: Iterable[Finding], severity: Severity) -> int:
    """Count the findings of one severity."""
    return sum(finding.severity == severity for finding in findings)


def grouped(findings: Iterable[Finding]) -> tuple[FindingGroup, ...]:
    """Gather findings of one severity and code, most severe first."""
    ordered = sorted(findings, key=lambda finding: (_RANK[finding.severity], finding.code))
    groups = groupby(ordered, key=lambda finding: (finding.severity, finding.code))
    return tuple(
        FindingGroup(code=code, severity=severity, findings=tuple(members))
        for (severity, code), members in groups
    )
