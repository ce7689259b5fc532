"""The report as data: what an audit recomputed, and its form in report.json."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from common.audit.breakdown import Breakdown
from common.audit.claim import CLAIM, Assumption
from common.audit.evaluation import Evaluation, Partitions
from common.audit.fairness import Fairness
from common.audit.findings import Finding, count
from common.audit.meaning import Meaning
from common.audit.practice import PRACTICE
from common.audit.records import Subject
from common.audit.report_parts import (
    AccountingReport,
    ClientReport,
    LeftOut,
    LogReport,
    MechanismReport,
    RoundReport,
)
from common.audit.wording import budget_text, epsilon_text
from common.words import counted

SCHEMA = "fedledger-report/2"


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Everything that `report.json` and `report.html` show.

    Args:
        subject: what was audited; what does not apply to it is empty, zero or None below.
        verified: no finding of severity error, and every ledger could be read.
        private: every charged computation was protected by noise that nobody can predict.
        stamp: the words that a run without a guarantee carries everywhere; empty for a private run.
        epsilon: largest over the readable clients; infinite without protection.
        epsilon_by_round_exact: False where the epsilons of `rounds` are bounds, at most 0.05 % too high.
        delta: largest over the readable clients; 0.0 when none is readable.
        unreadable: partitions whose ledger is damaged.
        refusals: how often clients gave nothing usable in this run, by code.
        left_out: which clients those were, and why.
        fairness: how unevenly the final model serves classes and clients, None where that is not known.
        settings: `section.key` to value, as in config.toml.
        code_digest: SHA-256 over the source of the installation that made this report.
        log: the server's log, None where there is none or it is damaged.
    """

    subject: Subject
    verified: bool
    private: bool
    stamp: str
    run: str
    data: str
    findings: tuple[Finding, ...]
    epsilon: float
    epsilon_rdp: float
    epsilon_unamplified: float
    delta: float
    clients: tuple[ClientReport, ...]
    unreadable: tuple[int, ...]
    rounds: tuple[RoundReport, ...]
    refusals: dict[str, int]
    left_out: tuple[LeftOut, ...]
    epsilon_by_round_exact: bool
    breakdown: Breakdown
    mechanism: MechanismReport
    accounting: AccountingReport
    meaning: Meaning
    assumptions: tuple[Assumption, ...]
    evaluation: Evaluation | None
    partitions: Partitions | None
    fairness: Fairness | None
    settings: dict[str, bool | int | float | str]
    versions: dict[str, str]
    model_hash: str | None
    code_digest: str
    log: LogReport | None

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the final model on the public test images, None before the first round."""
        return self.rounds[-1].accuracy if self.rounds else None

    @property
    def whose(self) -> str:
        """Of whom `epsilon` is the largest: of all clients, unless the ledger of one is not known."""
        if not self.unreadable and all(finding.code != "ledger-missing" for finding in self.findings):
            return "all clients"
        return f"the {'one' if len(self.clients) == 1 else len(self.clients)} that can be read"

    @property
    def guarantee(self) -> float:
        """Largest epsilon that a client's ledger lets readers rely on; infinite where there is none."""
        return max((client.guarantee for client in self.clients), default=math.inf)

    @property
    def filtered(self) -> bool:
        """Whether the guarantee of any client is its budget, and not what it happened to spend."""
        return any(client.accounting == "filter" for client in self.clients)

    @property
    def budgets(self) -> tuple[float, ...]:
        """Distinct budgets of the clients, smallest first."""
        return tuple(sorted({client.budget for client in self.clients if client.budget is not None}))

    def to_json(self) -> dict[str, Any]:
        """Return the content of report.json; an infinite or undefined number becomes null."""
        fields: dict[str, Any] = asdict(self) | {
            "schema": SCHEMA,
            "stamp": self.stamp or None,
            "verdict": verdict(self),
            "rounds": len(self.rounds),
            "by_round": [asdict(entry) for entry in self.rounds],
            "epsilon_by_round": [entry.epsilon for entry in self.rounds],
            "accuracy": self.accuracy,
            "guarantee": self.guarantee,
            "claim": asdict(CLAIM),
            "practice": asdict(PRACTICE),
            "evaluation": self.evaluation.model_dump(by_alias=True) if self.evaluation else None,
            "partitions": self.partitions.model_dump() if self.partitions else None,
        }
        plain: dict[str, Any] = _finite({"schema": SCHEMA} | fields)
        return plain


_NAMES: dict[Subject, str] = {"run": "run", "ledgers": "folder", "ledger": "ledger", "log": "log"}


def verdict(report: AuditReport) -> str:
    """Return what a reader must not miss: the stamp of a run without a guarantee, then the headline."""
    return f"{report.stamp}. {headline(report)}" if report.stamp else headline(report)


def headline(report: AuditReport) -> str:
    """Return the outcome in one sentence."""
    name = _NAMES[report.subject]
    if not report.verified:
        errors = counted(count(report.findings, "error"), "error")
        return f"NOT verified: {errors} in the records of this {name}"
    if report.subject == "log":
        leaves = counted(report.log.size if report.log else 0, "entry", "entries")
        return f"Verified: the log holds the {leaves} that its server signed, and nothing else is claimed"
    if not report.private or math.isinf(report.guarantee):
        return f"The records of this {name} agree with each other, but they promise no protection"
    if report.filtered:
        limit = epsilon_text(report.guarantee)
        return f"Verified: the budgets that the ledgers enforce limit every client to epsilon {limit}"
    return _spent(report)


def _spent(report: AuditReport) -> str:
    shown = epsilon_text(report.epsilon, budget=max(report.budgets, default=None))
    match report.budgets:
        case ():
            return f"Verified: no client spent more than epsilon {shown}"
        case (budget,):
            return f"Verified: no client spent more than epsilon {shown} of its {budget_text(budget)} budget"
        case _:
            return f"Verified: every client kept to its own budget, and none spent more than epsilon {shown}"


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case _:
            return value
