"""Reports as files: a run folder or ledgers, audited anew, or a report.json, taken at its word."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.audit.auditor import inspect
from common.audit.report import SCHEMA
from common.errors import CheckpointError
from common.ledger.lines import line_hash
from common.run_folder import RunFolder

SCHEMA_FILE = Path(__file__).with_name("report.schema.json")
"""The JSON Schema of report.json."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class FindingRecord(_Part):
    """A finding of a report."""

    code: str
    severity: Literal["error", "warning", "note"]
    message: str
    where: str


class ClientRecord(_Part):
    """What a report says about one client; None where nothing limits an epsilon."""

    partition_id: int
    ledger_id: str
    entries: int
    head: str
    epsilon: float | None
    guarantee: float | None


class ClassRecord(_Part):
    """Test results of one class."""

    name: str = Field(alias="class")
    recall: float | None


class EvaluationRecord(_Part):
    """Test results."""

    per_class: tuple[ClassRecord, ...]


class ReportRecord(_Part):
    """The parts of a report.json that two reports are compared by."""

    form: Literal["fedledger-report/2"] = Field(alias="schema")
    verdict: str
    run: str
    epsilon: float | None
    guarantee: float | None
    delta: float
    accuracy: float | None
    rounds: int
    clients: tuple[ClientRecord, ...]
    findings: tuple[FindingRecord, ...]
    evaluation: EvaluationRecord | None
    settings: dict[str, bool | int | float | str]
    mechanism: dict[str, tuple[str | int | float, ...]]
    versions: dict[str, str]
    model_hash: str | None
    code_digest: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """A report, and the ledgers behind it where they are at hand.

    Args:
        name: the path as it was given.
        lines: for each ledger, by its id, the hashes of its lines; empty for a report.json.
    """

    name: str
    report: ReportRecord
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_source(path: Path) -> Source:
    """Audit a run folder, or ledgers, without writing anything; or read a report.json as it is.

    Raises:
        CheckpointError: when it is neither, or the report has another form.
    """
    if path.is_dir() or path.suffix == ".jsonl":
        report = _parse(inspect(path).to_json(), path)
        return Source(name=str(path), report=report, lines=_lines(path, report))
    return Source(name=str(path), report=_parse(_read(path), path))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist: name a run folder or a report.json") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or not JSON
        raise CheckpointError(
            f"{path} is not a report ({type(error).__name__}): name a run folder or a report.json"
        ) from None


def _parse(value: Any, path: Path) -> ReportRecord:
    form = value.get("schema") if isinstance(value, dict) else None
    if form != SCHEMA:
        raise CheckpointError(
            f"{path} has the form {form!r:.60}, permitted is {SCHEMA}: write it anew with `fedledger audit`"
        )
    try:
        return ReportRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(
            f"{path}: {place} is not what an audit writes ({first['msg']}): write it anew with "
            "`fedledger audit`"
        ) from None


def _lines(path: Path, report: ReportRecord) -> dict[str, tuple[str, ...]]:
    """Hash the lines of every ledger that the audit has just verified."""
    files = {client.ledger_id: _ledger_file(path, client.partition_id) for client in report.clients}
    return {
        ledger_id: tuple(line_hash(line) for line in file.read_text(encoding="ascii").splitlines())
        for ledger_id, file in files.items()
        if file.exists()
    }


def _ledger_file(path: Path, partition_id: int) -> Path:
    """Return the file, for a run folder or a ledger home, a folder of ledgers, or a single ledger."""
    if path.is_file():
        return path
    file = RunFolder(path).ledger(partition_id)
    return file if file.exists() else path / file.name
