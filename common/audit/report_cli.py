"""The commands `fedledger report schema` and `fedledger report diff`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.run_folder import write_atomically

if TYPE_CHECKING:
    from common.audit.diff import Comparison


def schema() -> None:
    """Print the JSON Schema of report.json."""
    from common.audit.report_files import SCHEMA_FILE

    typer.echo(SCHEMA_FILE.read_text(encoding="utf-8"), nl=False)


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run folder, ledgers, or a report.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page to this file too.")
    ] = None,
) -> None:
    """Show what differs between two reports, and whether they are about the same data.

    Run folders and ledgers are audited anew and not written to; a report.json is taken at its word.

    Exit status: 0 the two were compared, 2 one of them could not be read.
    """
    from common.audit.diff import compare  # the accountant takes a second; --help needs none
    from common.audit.diff_text import as_page, as_text
    from common.audit.report_files import read_source

    comparison = compare(read_source(first), read_source(second))
    if html is not None:
        write_atomically(html, as_page(comparison).encode())
    typer.echo(
        json.dumps(as_record(comparison), indent=1, ensure_ascii=False) if as_json else as_text(comparison)
    )


def as_record(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison for programs; an epsilon without limit is null."""
    record: dict[str, Any] = asdict(comparison)
    for name in ("new_findings", "gone_findings"):
        record[name] = [finding.model_dump() for finding in getattr(comparison, name)]
    return record
