"""Read a run folder as a stranger would, recompute what was spent, and report it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.audit.auditor import audit, inspect_run
    from common.audit.findings import Finding
    from common.audit.report import AuditReport, verdict
    from common.audit.report_parts import ClientReport

__all__ = ["AuditReport", "ClientReport", "Finding", "audit", "inspect_run", "verdict"]

_HOMES = {
    "AuditReport": "report",
    "ClientReport": "report_parts",
    "Finding": "findings",
    "audit": "auditor",
    "inspect_run": "auditor",
    "verdict": "report",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is used: the accountant behind it takes a second, which --help does not need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"common.audit.{_HOMES[name]}"), name)
