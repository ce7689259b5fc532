"""Read a run folder as a stranger would, recompute what was spent, and report it."""

from common.audit.auditor import audit, inspect_run
from common.audit.findings import Finding
from common.audit.report import AuditReport, verdict
from common.audit.report_parts import ClientReport

__all__ = ["AuditReport", "ClientReport", "Finding", "audit", "inspect_run", "verdict"]
