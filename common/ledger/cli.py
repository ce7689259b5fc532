"""The commands `fedledger ledger ...`, which read ledgers and change nothing."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError, LedgerTampered
from common.ledger.chain import LedgerView, naming, read_ledger
from common.ledger.display import as_record, as_text, printable
from common.ledger.durable import write_new_file
from common.ledger.examine import UNREADABLE, Expected, judge
from common.ledger.export import as_csv, as_events, as_json


class Form(StrEnum):
    """What a ledger's charges can be exported to."""

    CSV = "csv"
    JSON = "json"
    EVENTS = "events"


_WRITERS = {Form.CSV: as_csv, Form.JSON: as_json, Form.EVENTS: as_events}

LedgerFile = Annotated[Path, typer.Argument(help="A ledger, such as RUN/ledgers/client-0.jsonl.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def show(file: LedgerFile, as_json: AsJson = False) -> None:
    """Verify a ledger and print its entries."""
    view = _opened(file)
    typer.echo(json.dumps(as_record(view), indent=1) if as_json else as_text(view))


def verify(
    files: Annotated[
        list[Path], typer.Argument(help="Ledgers, such as RUN/ledgers/*.jsonl.", metavar="FILE...")
    ],
    expect_head: Annotated[
        str | None, typer.Option(metavar="HEX", help="A head, now or earlier, that the ledger must contain.")
    ] = None,
    expect_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="A key that signs or signed it: base64, or the fingerprint."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify chain, signatures and receipts of ledgers; one line each.

    Exit status: 0 verified, 1 damaged or not what was expected, 2 not readable.
    """
    if len(files) > 1 and (expect_head or expect_key):
        raise ConfigError("--expect-head and --expect-key are about one ledger: name one file")
    judgements = [judge(file, Expected(head=expect_head, key=expect_key)) for file in files]
    if as_json:
        typer.echo(json.dumps([judgement.to_json() for judgement in judgements], indent=1))
    for judgement in judgements:
        if judgement.status == UNREADABLE:
            typer.echo(f"fedledger: {printable(str(judgement))}", err=True)
        elif not as_json:
            typer.echo(printable(str(judgement)))
    raise typer.Exit(max(judgement.status for judgement in judgements))


def export(
    file: LedgerFile,
    to: Annotated[Form, typer.Option(help="A table, JSON, or an expression of dp-accounting's events.")],
    out: Annotated[Path | None, typer.Option(help="A new file; by default the screen.")] = None,
) -> None:
    """Verify a ledger and write its charges, one row a mechanism, for other programs."""
    text = _WRITERS[to](_opened(file))
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        write_new_file(out, text.encode("utf-8"), mode=0o644)
    except FileExistsError:
        raise ConfigError(f"{out} exists already: choose another --out") from None
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}): choose another --out") from None


def _opened(file: Path) -> LedgerView:
    """Read a ledger; an error names the file."""
    try:
        return read_ledger(file)
    except LedgerTampered as error:
        raise naming(error, file) from None
