"""The `fedledger` command: one line a verb."""

from __future__ import annotations

import sys

import click
import typer

from common.audit.cli import run as audit
from common.errors import FedLedgerError
from common.ledger.cli import show
from simulations.cli import SETTINGS_HELP, show_config, simulate

app = typer.Typer(
    help="Private federated learning with a ledger.", no_args_is_help=True, rich_markup_mode=None
)
ledger = typer.Typer(help="Read ledgers.", no_args_is_help=True, rich_markup_mode=None)

app.command("simulate", epilog=SETTINGS_HELP)(simulate)
app.command("audit")(audit)
app.command("config")(show_config)
app.add_typer(ledger, name="ledger")
ledger.command("show")(show)


def main() -> None:
    """Run the command: one line for a mistake, and a traceback only with --debug."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        sys.exit(app(arguments, standalone_mode=False))
    except click.ClickException as error:
        line = error.format_message()
        code = error.exit_code
    except FedLedgerError as error:
        line, code = str(error), 2
        if debug:
            raise
    except (KeyboardInterrupt, click.Abort):
        line, code = "interrupted; a run that has begun can go on with --resume", 130
    print(f"fedledger: {line}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
