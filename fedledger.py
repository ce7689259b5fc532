"""The `fedledger` command: one line a verb, and one line for a mistake."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any

import click
import typer
import typer.core

from client.deployment import cli as sites
from common.audit import report_cli as reports
from common.audit.cli import run as audit
from common.code import code_digest
from common.comparing.cli import compare
from common.errors import HOW_TO_TRAIN
from common.ledger import cli as ledgers
from common.ledger import keys_cli as keys
from common.mistakes import line_of
from common.planning.cli import run as plan
from common.trained.explain_cli import explain
from common.trained.export_cli import export
from common.trained.personal_cli import personalise
from common.trained.predict_cli import predict
from server.deployment import cli as deployment
from server.deployment import run_cli
from simulations.central import train
from simulations.cli import INTERRUPTED, SETTINGS_HELP, show_config, simulate
from simulations.sweep.cli import sweep

WRONG, DEFECT, UNHEARD = 2, 3, 141
"""Exit statuses of a mistake, of a defect of FedLedger, and of output that nobody reads."""

RUNS = ("simulate", "run", "sweep", "train")
"""The verbs that make a run."""

TRAINING = frozenset({"flwr", "opacus", "safetensors", "torch", "torchvision"})
"""What comes with the extra "train": auditing, planning and keeping keys need none of it."""

typer.core.HAS_RICH = False  # it would write "\\[required]" into a help that is plain text

_STYLE: dict[str, Any] = {
    "no_args_is_help": True,
    "rich_markup_mode": None,
    "suggest_commands": False,  # click does already
    "pretty_exceptions_enable": False,  # they would print local variables, and so perhaps records
}

app = typer.Typer(help="Private federated learning with a ledger.", **_STYLE)
ledger = typer.Typer(help="Read ledgers.", **_STYLE)
report = typer.Typer(help="Compare reports, and print their schema.", **_STYLE)
pki = typer.Typer(help="Certificates of a server, and keys of its clients.", **_STYLE)
key = typer.Typer(help="Keys that sign ledgers.", **_STYLE)
policy = typer.Typer(help="What a site permits.", **_STYLE)

app.command("simulate", epilog=SETTINGS_HELP)(simulate)
app.command("sweep", epilog=SETTINGS_HELP)(sweep)
app.command("train", epilog=SETTINGS_HELP)(train)
app.command("audit")(audit)
app.command("config")(show_config)
app.command("plan")(plan)
app.command("predict")(predict)
app.command("explain")(explain)
app.command("export")(export)
app.command("personalise")(personalise)
app.add_typer(report, name="report")
report.command("diff")(reports.diff)
report.command("compare")(compare)
report.command("schema")(reports.schema)
app.add_typer(ledger, name="ledger")
ledger.command("show")(ledgers.show)
ledger.command("verify")(ledgers.verify)
ledger.command("export")(ledgers.export)
app.add_typer(key, name="keys")
key.command("new")(keys.new)
key.command("show")(keys.show)
key.command("rotate")(keys.rotate)
app.add_typer(pki, name="pki")
pki.command("init")(deployment.pki_init)
pki.command("client")(deployment.pki_client)
app.command("server")(deployment.server)
app.command("client")(sites.client)
app.command("enroll")(deployment.enroll)
app.command("revoke")(deployment.revoke)
app.command("status")(deployment.status)
app.command("run", epilog=SETTINGS_HELP)(run_cli.run)
app.add_typer(policy, name="policy")
policy.command("check")(sites.policy_check)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fedledger {version('fedledger')}, code {code_digest()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version, and the digest of its code: a server's and its clients' must be one.",
        ),
    ] = False,
) -> None:
    """Take what stands before the verb."""


def main() -> None:
    """Run the command: one line for a mistake, and a traceback only with --debug."""
    _print_anywhere()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        sys.exit(_run(arguments, debug="--debug" in sys.argv))
    finally:
        _let_go_of_output()


def _run(arguments: list[str], *, debug: bool) -> int:
    """Run the command and return its exit status."""
    try:
        status = app(arguments, prog_name="fedledger", standalone_mode=False)
        _flush()
    except (BrokenPipeError, SystemExit):  # typer turns the former into the latter
        return UNHEARD
    except Exception as error:
        if debug:
            raise
        return _explain(error)
    if status == INTERRUPTED:
        goes_on = "; a run that has begun can go on with --resume" if arguments[0] in RUNS else ""
        return _fail(f"interrupted{goes_on}", INTERRUPTED)
    return int(status or 0)


def _explain(error: Exception) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return WRONG
    line = _line_of(error)
    if not line:
        return _fail(f"a defect ({type(error).__name__}): please report what --debug prints", DEFECT)
    return _fail(line, getattr(error, "exit_status", WRONG))


def _line_of(error: Exception) -> str:
    """Return the line for what a person can mend, and nothing for a defect."""
    match error:
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "fedledger"
            line = f"{error.format_message().rstrip('.')}: see `{command} --help`"
        case click.ClickException():
            line = error.format_message()
        case ModuleNotFoundError() if error.name in TRAINING:
            line = f"this needs {error.name}, which is not installed: {HOW_TO_TRAIN}"
        case _:
            line = line_of(error)
    return line


def _fail(line: str, status: int) -> int:
    print(f"fedledger: {' '.join(line.split())}", file=sys.stderr)
    return status


def _print_anywhere() -> None:
    """Escape what the terminal's encoding lacks, such as an umlaut, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    if sys.stdout is not None:  # it is when the shell closed it
        sys.stdout.flush()


def _let_go_of_output() -> None:
    """Give up on output that cannot be written: the interpreter would complain when it ends."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
