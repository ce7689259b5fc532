"""The command `fedledger plan`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError
from common.planning.question import DEFAULT_PARAMETERS
from common.planning.request import Request, question_of
from common.run_folder import write_atomically

FITS, DOES_NOT_FIT = 0, 1


def run(
    examples: Annotated[
        str | None,
        typer.Option(help="Training examples of each client: 6000 for all alike, or 500,6000,12000."),
    ] = None,
    clients: Annotated[
        int | None, typer.Option(help="Number of clients, where --examples is one number (10).")
    ] = None,
    partitions: Annotated[
        Path | None, typer.Option(help="Instead: partitions.json, or the run folder that holds it.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Instead: one client's ledger; what it has spent counts.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="With --ledger: the policy's epsilon, where it was lowered since.")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="Lifetime budget of each client (8).")] = None,
    delta: Annotated[str | None, typer.Option(help='A number of at most 1/n, or "auto".')] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the training (200).")] = None,
    noise_multiplier: Annotated[
        float | None, typer.Option(help="Noise over clip; leave out to have it found.")
    ] = None,
    sample_rate: Annotated[
        float | None, typer.Option(help="Chance q that an example is in a step (0.1).")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Instead: expected examples of a step, so q = batch size / n.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a client in a round (1).")] = None,
    participation: Annotated[
        float | None, typer.Option(help="Share of the clients that a round asks (1).")
    ] = None,
    dropout: Annotated[
        float, typer.Option(help="Share of the asked clients that do not answer; charged all the same.")
    ] = 0.0,
    parameters: Annotated[int, typer.Option(help="Weights of the model.")] = DEFAULT_PARAMETERS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write a page, such as plan.html.")] = None,
) -> None:
    """Say what a privacy budget buys, before any data is touched.

    Of --epsilon, --rounds and --noise-multiplier give two, and the third is found: the noise for a budget,
    the rounds that a budget affords, or the epsilon that is spent. Give all three to ask whether they fit.
    With a --ledger, what it has spent counts, and rounds are those still to come.

    Exit status: 0 it fits, 1 it does not fit the budget, 2 a mistake.
    """
    typed = {name: value for name, value in locals().items() if name not in {"as_json", "out"}}
    if out is not None and out.suffix.lower() not in {".html", ".htm"}:
        raise ConfigError(f"--out {out} is not an HTML file: give a name that ends in .html")
    from common.planning.html import render  # the accountant takes a second; --help needs none
    from common.planning.plan import make_plan
    from common.planning.text import as_record, as_text

    plan = make_plan(question_of(Request(**typed)))
    if out is not None:
        write_atomically(out, render(plan).encode("utf-8"))
    if as_json:
        typer.echo(json.dumps(as_record(plan), indent=1, allow_nan=False))
    else:
        width = shutil.get_terminal_size().columns
        typer.echo(as_text(plan, width=width, ascii_only=not _has_blocks()))
        typer.echo(f"\nPage: {out}" if out else "", nl=out is not None)
    raise typer.Exit(FITS if plan.fits else DOES_NOT_FIT)


def _has_blocks() -> bool:
    """Whether the output's encoding has the characters that charts are drawn with."""
    try:
        "┤┄└█▁".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
