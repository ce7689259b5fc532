"""The command `fedledger report compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from common.run_folder import write_atomically


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Two to six run folders.")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Draw the chart into this page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Set runs side by side: accuracy over rounds in one chart, and accuracy, epsilon and time in one table.

    Run folders are audited anew and not written to. `report diff` says all that differs between two.

    Exit status: 0 they were compared, 2 one of them could not be read.
    """
    from common.comparing.html import render  # the accountant takes a second; --help needs none
    from common.comparing.runs import read_runs
    from common.comparing.text import as_record, as_text

    figures = read_runs(runs)
    if html is not None:
        write_atomically(html, render(figures).encode())
    typer.echo(json.dumps(as_record(figures), indent=1, ensure_ascii=False) if as_json else as_text(figures))
    if html is not None and not as_json:
        typer.echo(f"\nPage: {html}")
