"""Put together what an audit recomputed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from common.audit.breakdown import break_down, most_spent
from common.audit.claim import assumptions
from common.audit.fairness import fairness_of
from common.audit.findings import Finding, count, most_severe_first
from common.audit.history import ClientLedger
from common.audit.implementation import (
    accounting_report,
    auditing_code_digest,
    library_versions,
    mechanism_report,
)
from common.audit.meaning import Meaning, explain, nothing_to_explain
from common.audit.records import RunRecords
from common.audit.report import AuditReport
from common.audit.report_parts import ClientReport, LeftOut, LogReport, MechanismReport, RoundReport
from common.audit.server_records import ServerRecords
from common.audit.spending import MOST_EXACT_ROUNDS, History, Spent, largest_by_round
from common.audit.standing import accounting_of, count_entries, guarantee_of
from common.audit.verify_ledger import UNPREDICTABLE_NOISE
from common.ledger.entries import Acknowledged, Amend, KeyRotate
from common.ledger.receipts import SignedReceipt
from common.privacy.accounting import epsilon_upper_bound
from common.transparency.note import verifier_key

NOT_PRIVATE = "NOT PRIVATE"


def history_of(ledger: ClientLedger) -> History:
    """Return everything that a ledger charges, and the terms on which it is judged."""
    genesis = ledger.view.genesis
    return History(mechanisms=ledger.mechanisms(), delta=genesis.delta, budget=genesis.budget_epsilon)


def assemble(
    records: RunRecords, ledgers: Sequence[ClientLedger], run: str, spent: Sequence[Spent]
) -> AuditReport:
    """Return the report without its findings, which `with_findings` adds.

    Args:
        spent: by each ledger, in the same order.
    """
    clients = tuple(_client(ledger, cost, records, run) for ledger, cost in zip(ledgers, spent, strict=True))
    epsilon = max((cost.epsilon for cost in spent), default=math.inf)
    mechanism = mechanism_report(ledgers)
    stamp = _stamp(records, ledgers, mechanism)
    return AuditReport(
        subject=records.subject,
        verified=True,
        private=not stamp and bool(ledgers),
        stamp=stamp,
        run=run,
        data=records.partitions.dataset if records.partitions else "",
        findings=(),
        epsilon=epsilon,
        epsilon_rdp=max(
            (cost.epsilon_rdp for cost in spent if cost.epsilon_rdp is not None), default=math.inf
        ),
        epsilon_unamplified=max((cost.epsilon_unamplified for cost in spent), default=math.inf),
        delta=max((client.delta for client in clients), default=0.0),
        clients=clients,
        unreadable=tuple(ledger.partition_id for ledger in records.damaged),
        rounds=_rounds(records, ledgers, run, spent),
        epsilon_by_round_exact=len(records.rounds) <= MOST_EXACT_ROUNDS,
        refusals=dict(sorted(Counter(r.code for entry in records.rounds for r in entry.refused).items())),
        left_out=_left_out(records),
        breakdown=break_down(ledgers, [cost.epsilon for cost in spent]),
        mechanism=mechanism,
        accounting=accounting_report(),
        meaning=_meaning(ledgers, spent),
        assumptions=(),
        evaluation=records.evaluation,
        partitions=records.partitions,
        fairness=fairness_of(records.evaluation, records.partitions),
        settings=records.config.flat() if records.config else {},
        versions=library_versions(ledgers),
        model_hash=records.model_hash,
        code_digest=auditing_code_digest(),
        log=_log(records.server) if isinstance(records.server, ServerRecords) else None,
    )


def with_findings(report: AuditReport, findings: Iterable[Finding]) -> AuditReport:
    """Return the report with these findings, and what follows from them."""
    ordered = most_severe_first(findings)
    return replace(
        report,
        findings=ordered,
        verified=count(ordered, "error") == 0,
        assumptions=assumptions(
            samplers=report.mechanism.samplers,
            noise_sources=report.mechanism.noise_sources,
            protected=report.stamp != NOT_PRIVATE,
            broken={finding.code for finding in ordered if finding.severity == "error"},
        ),
    )


def _log(server: ServerRecords) -> LogReport:
    return LogReport(
        origin=server.origin,
        key=verifier_key(server.origin, server.public_key),
        size=len(server.view.lines),
        root=server.view.checkpoint.root.hex(),
        receipts=sum(1 for _ in server.of_kind(SignedReceipt)),
    )


def _client(ledger: ClientLedger, spent: Spent, records: RunRecords, run: str) -> ClientReport:
    genesis = ledger.view.genesis
    return ClientReport(
        partition_id=ledger.partition_id,
        num_examples=genesis.num_examples,
        epsilon=spent.epsilon,
        epsilon_exact=spent.exact,
        epsilon_rdp=spent.epsilon_rdp,
        epsilon_unamplified=spent.epsilon_unamplified,
        accounting=accounting_of(ledger),
        guarantee=guarantee_of(ledger, spent.epsilon),
        delta=genesis.delta,
        steps=sum(mechanism.num_steps for mechanism in ledger.mechanisms()),
        rounds=len(ledger.by_round(run).keys() & _rounds_of(records, ledger.partition_id)),
        charges=len(ledger.charges),
        budget=genesis.budget_epsilon,
        ledger_id=genesis.ledger_id,
        entries=len(ledger.view.entries),
        head=ledger.view.head,
        receipts=count_entries(ledger.view, Acknowledged),
        key_rotations=count_entries(ledger.view, KeyRotate),
        amendments=count_entries(ledger.view, Amend),
    )


def _left_out(records: RunRecords) -> tuple[LeftOut, ...]:
    """List who gave nothing usable and why, by client; the same reason again is counted."""
    seen: dict[tuple[int, str, str], list[int]] = {}
    for entry in records.rounds:
        for refusal in entry.refused:
            key = (refusal.partition_id, refusal.code, refusal.reason)
            seen.setdefault(key, []).append(entry.round)
    parts = [(*key, rounds[0], len(rounds)) for key, rounds in seen.items()]
    return tuple(
        LeftOut(partition_id=number, code=code, reason=reason, round=first, times=times)
        for number, code, reason, first, times in sorted(parts, key=lambda part: (part[0], part[3]))
    )


def _rounds_of(records: RunRecords, partition_id: int) -> set[int]:
    return {entry.round for entry in records.rounds if partition_id in entry.updates}


def _stamp(records: RunRecords, ledgers: Iterable[ClientLedger], mechanism: MechanismReport) -> str:
    """Return the strongest of the stamps that settings and ledgers ask for."""
    charges = [charge for ledger in ledgers for charge in ledger.charges]
    if any(not charge.protected or charge.body.noise_source == "none" for charge in charges):
        return NOT_PRIVATE
    if records.config and records.config.stamp:
        return records.config.stamp
    predictable = set(mechanism.noise_sources) - {UNPREDICTABLE_NOISE}
    return "NOT PRIVATE: REPRODUCIBLE NOISE" if predictable else ""


def _rounds(
    records: RunRecords, ledgers: Sequence[ClientLedger], run: str, spent: Sequence[Spent]
) -> tuple[RoundReport, ...]:
    epsilons = [cost.epsilon for cost in spent]
    by_client = [_histories_by_round(ledger, run, len(records.rounds)) for ledger in ledgers]
    columns = [*zip(*by_client, strict=True)]
    largest = largest_by_round(columns, max(epsilons, default=math.inf), leading=most_spent(epsilons))
    return tuple(
        RoundReport(
            round=entry.round,
            participants=len(entry.participants),
            refused=len(entry.refused),
            accuracy=entry.accuracy,
            epsilon=value,
        )
        for entry, value in zip(records.rounds, largest or [math.inf] * len(records.rounds), strict=True)
    )


def _histories_by_round(ledger: ClientLedger, run: str, rounds: int) -> list[History]:
    genesis = ledger.view.genesis
    return [
        History(mechanisms=mechanisms, delta=genesis.delta, budget=genesis.budget_epsilon)
        for mechanisms in ledger.mechanisms_by_round(run, rounds)
    ]


def _meaning(ledgers: Sequence[ClientLedger], spent: Sequence[Spent]) -> Meaning:
    """Explain the weakest guarantee; a filter's is one pair, of which no curve follows."""
    pairs = [*zip(ledgers, spent, strict=True)]
    most = most_spent([guarantee_of(ledger, cost.epsilon) for ledger, cost in pairs])
    if most is None:
        return nothing_to_explain()
    ledger, epsilon = ledgers[most], spent[most].epsilon
    mechanisms, delta = ledger.mechanisms(), ledger.view.genesis.delta
    if accounting_of(ledger) == "filter":
        return explain(ledger.partition_id, delta, lambda _: guarantee_of(ledger, epsilon), others=())
    known = {delta: epsilon}
    return explain(
        ledger.partition_id,
        delta,
        lambda value: known[value] if value in known else epsilon_upper_bound(mechanisms, value),
    )
