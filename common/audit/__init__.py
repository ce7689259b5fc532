"""Read a run folder as a stranger would, recompute what was spent, and report it."""

from common.audit.auditor import audit, inspect_run
from common.audit.findings import Finding
from common.audit.report import AuditReport, ClientReport, verdict

__all__ = ["AuditReport", "ClientReport", "Finding", "audit", "inspect_run", "verdict"]
