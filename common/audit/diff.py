"""What differs between two reports, and whether they are about the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from common.audit.report_files import ClientRecord, FindingRecord, ReportRecord, Source

Kind = Literal["epsilon", "delta", "share", "count", "text"]
Relation = Literal["same", "continued", "earlier", "forked", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One value in both reports.

    Args:
        kind: how to write the values; of an epsilon, None means that nothing limits it.
        first: None where the first report has none.
        second: None where the second report has none.
    """

    name: str
    kind: Kind
    first: Any
    second: Any

    @property
    def differs(self) -> bool:
        """Whether the two values are not the same."""
        return bool(self.first != self.second)


@dataclass(frozen=True, kw_only=True)
class LedgerPair:
    """One ledger that both reports know.

    Args:
        relation: 'same' head; 'continued' where the second report's goes on from the first's; 'earlier' where
            the first report's goes on from the second's; 'forked' where neither does; 'unknown' where only
            the ledgers themselves could tell.
    """

    ledger_id: str
    first_client: int
    second_client: int
    relation: Relation


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two reports side by side.

    Args:
        outcome: the figures that a reader looks for first, whether or not they differ.
        clients: epsilons of clients that differ, by ledger or else by partition.
        classes: recall of classes that differ.
        settings: settings that differ.
        mechanism: recorded mechanisms that differ.
        versions: versions and code that differ.
        new_findings: only in the second report.
        gone_findings: only in the first report.
        ledgers: ledgers that both know.
        only_first: number of ledgers that only the first report knows.
        only_second: number of ledgers that only the second report knows.
    """

    first: str
    second: str
    outcome: tuple[Change, ...]
    clients: tuple[Change, ...]
    classes: tuple[Change, ...]
    settings: tuple[Change, ...]
    mechanism: tuple[Change, ...]
    versions: tuple[Change, ...]
    new_findings: tuple[FindingRecord, ...]
    gone_findings: tuple[FindingRecord, ...]
    ledgers: tuple[LedgerPair, ...]
    only_first: int
    only_second: int


def compare(first: Source, second: Source) -> Comparison:
    """Set two reports side by side."""
    one, two = first.report, second.report
    shared = _shared(one, two)
    return Comparison(
        first=first.name,
        second=second.name,
        outcome=_outcome(one, two),
        clients=_clients(one, two, by_ledger=bool(shared)),
        classes=_maps(_recalls(one), _recalls(two), "share"),
        settings=_maps(one.settings, two.settings, "text"),
        mechanism=_maps(_mechanism(one), _mechanism(two), "text"),
        versions=_maps(_versions(one), _versions(two), "text"),
        new_findings=_missing(two.findings, one.findings),
        gone_findings=_missing(one.findings, two.findings),
        ledgers=tuple(_pair(ours, theirs, first, second) for ours, theirs in shared),
        only_first=len(one.clients) - len(shared),
        only_second=len(two.clients) - len(shared),
    )


def _outcome(one: ReportRecord, two: ReportRecord) -> tuple[Change, ...]:
    fields: list[tuple[str, Kind, Callable[[ReportRecord], Any]]] = [
        ("verdict", "text", lambda report: report.verdict),
        ("guaranteed epsilon", "epsilon", lambda report: report.guarantee),
        ("largest epsilon", "epsilon", lambda report: report.epsilon),
        ("delta", "delta", lambda report: report.delta),
        ("accuracy", "share", lambda report: report.accuracy),
        ("rounds", "count", lambda report: report.rounds),
        ("clients", "count", lambda report: len(report.clients)),
        ("run", "text", lambda report: report.run),
        ("model", "text", lambda report: report.model_hash),
    ]
    return tuple(
        Change(name=name, kind=kind, first=value(one), second=value(two)) for name, kind, value in fields
    )


def _clients(one: ReportRecord, two: ReportRecord, *, by_ledger: bool) -> tuple[Change, ...]:
    """Pair clients by ledger where the reports share any, since partitions may be numbered anew."""

    def key(client: ClientRecord) -> Any:
        return client.ledger_id if by_ledger else client.partition_id

    ours, theirs = ({key(client): client for client in report.clients} for report in (one, two))
    changes = [
        Change(
            name=f"client {ours[name].partition_id}",
            kind="epsilon",
            first=ours[name].epsilon,
            second=theirs[name].epsilon,
        )
        for name in ours
        if name in theirs
    ]
    return tuple(change for change in changes if change.differs)


def _maps(one: Mapping[str, Any], two: Mapping[str, Any], kind: Kind) -> tuple[Change, ...]:
    changes = [
        Change(name=name, kind=kind, first=one.get(name), second=two.get(name)) for name in {**one, **two}
    ]
    return tuple(change for change in changes if change.differs)


def _recalls(report: ReportRecord) -> dict[str, float | None]:
    return {result.name: result.recall for result in report.evaluation.per_class} if report.evaluation else {}


def _mechanism(report: ReportRecord) -> dict[str, str]:
    """Write each field's values, without the code's digests, which count as versions."""
    return {
        name.replace("_", " "): ", ".join(str(value) for value in values) or "none recorded"
        for name, values in report.mechanism.items()
        if name != "code_digests"
    }


def _versions(report: ReportRecord) -> dict[str, str]:
    trained = ", ".join(str(digest) for digest in report.mechanism.get("code_digests", ()))
    return report.versions | {"training code": trained or "not recorded", "auditing code": report.code_digest}


def _missing(there: Iterable[FindingRecord], here: Iterable[FindingRecord]) -> tuple[FindingRecord, ...]:
    known = set(here)
    return tuple(finding for finding in there if finding not in known)


def _shared(one: ReportRecord, two: ReportRecord) -> list[tuple[ClientRecord, ClientRecord]]:
    theirs = {client.ledger_id: client for client in two.clients}
    return [(client, theirs[client.ledger_id]) for client in one.clients if client.ledger_id in theirs]


def _pair(ours: ClientRecord, theirs: ClientRecord, first: Source, second: Source) -> LedgerPair:
    return LedgerPair(
        ledger_id=ours.ledger_id,
        first_client=ours.partition_id,
        second_client=theirs.partition_id,
        relation=_relation(ours, theirs, first, second),
    )


def _relation(ours: ClientRecord, theirs: ClientRecord, first: Source, second: Source) -> Relation:
    if ours.head == theirs.head:
        return "same"
    if ours.entries == theirs.entries:
        return "forked"
    shorter_is_first = ours.entries < theirs.entries
    head, source = (ours.head, second) if shorter_is_first else (theirs.head, first)
    lines = source.lines.get(ours.ledger_id)
    if lines is None:
        return "unknown"
    if head not in lines:
        return "forked"
    return "continued" if shorter_is_first else "earlier"
