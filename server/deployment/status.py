"""What a server's folder and the running server tell about clients and runs, in words."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from common.flower_internals.control import ControlApi
from server.deployment.enrolment import Enrolled, Enrolments
from server.deployment.overview import (
    BudgetLeft,
    ClientStanding,
    RunStanding,
    standing_of_clients,
    standings_of_runs,
)
from server.deployment.serving import control_api
from server.deployment.state_folder import Running, StateFolder

_LATEST_RUNS = 10
_PIPED_WIDTH = 160


@contextmanager
def with_control(state: Path) -> Iterator[tuple[ControlApi, Enrolments]]:
    """Open the control API of the server that runs on a folder, and the folder's list of keys.

    Raises:
        ServerFailed: when no server runs, or it belongs to another account.
    """
    folder = StateFolder(state)
    running = folder.running()
    with closing(control_api(folder, running.superlink)) as control:
        yield control, Enrolments(folder.enrolments)


def enrolments_in_words(state: Path) -> str:
    """List every key that was ever enrolled, one a line; no server need run."""
    entries = Enrolments(StateFolder(state).enrolments).all()
    if not entries:
        return "Nobody is enrolled."
    return "\n".join(_in_words(entry) for entry in entries)


def _in_words(entry: Enrolled) -> str:
    since = f"enrolled {entry.enrolled_at}"
    return f"{entry.name}  {since}" + (f", revoked {entry.revoked_at}" if entry.revoked_at else "")


def print_status(state: Path, *, as_json: bool = False) -> None:
    """Print the server's addresses, its clients with their budgets, and its latest runs.

    Raises:
        ServerFailed: when no server runs on the folder.
    """
    folder = StateFolder(state)
    running = folder.running()
    folders = folder.folders_of_runs()
    with with_control(state) as (control, enrolments):
        clients = standing_of_clients(
            enrolments.all(), control.nodes(), folders.values(), default_home=folder.ledgers
        )
        latest = control.runs()[:_LATEST_RUNS]
    runs = standings_of_runs(latest, folders)
    if as_json:
        print(json.dumps(_record(running, clients, runs), indent=1))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPED_WIDTH)
    console.print(
        f"Server {running.gateway} ({'TLS' if running.tls else 'plain HTTP'}), process {running.pid}; "
        f"metrics http://{running.metrics}/metrics",
        soft_wrap=True,
    )
    console.print(_client_table(clients) if clients else "Nobody is enrolled.")
    console.print(_run_table(runs) if runs else "No runs yet.")


def _record(running: Running, clients: list[ClientStanding], runs: list[RunStanding]) -> dict[str, Any]:
    """Return the status for programs: times in seconds since 1970, an infinite epsilon as null."""
    return {
        "server": running.model_dump(),
        "clients": [{**asdict(client), "budget": _budget_record(client.budget)} for client in clients],
        "runs": [{**asdict(run), "run_id": str(run.run_id)} for run in runs],
    }


def _budget_record(budget: BudgetLeft | None) -> dict[str, Any] | None:
    if budget is None:
        return None
    spent = budget.spent if math.isfinite(budget.spent) else None
    return {**asdict(budget), "spent": spent, "left": budget.left}


def _table(title: str, *columns: str) -> Table:
    """Return a table that loses nothing on a narrow terminal: what is too long goes on in the next line."""
    made = (Column(name, overflow="fold", min_width=max(map(len, name.split()))) for name in columns)
    return Table(*made, title=title, title_justify="left", padding=0, pad_edge=False)


def _client_table(clients: list[ClientStanding]) -> Table:
    columns = ("client", "number", "status", "last seen", "examples", "epsilon spent", "left", "at delta")
    table = _table("Clients", *columns)
    for client in clients:
        number = "-" if client.number is None else str(client.number)
        table.add_row(client.name, number, client.status, _ago(client.last_seen), *_budget(client.budget))
    return table


def _budget(budget: BudgetLeft | None) -> tuple[str, str, str, str]:
    """Return the cells of a client's budget; without a run, the server has not seen its ledger."""
    if budget is None:
        return ("-",) * 4
    limit = "no budget" if budget.left is None else f"{budget.left:.3f} of {budget.budget:g}"
    return f"{budget.num_examples:,}", f"{budget.spent:.3f}", limit, f"{budget.delta:.3g}"


def _run_table(runs: list[RunStanding]) -> Table:
    table = _table("Runs", "run", "status", "round", "since (UTC)", "folder")
    for run in runs:
        table.add_row(str(run.run_id), run.status, _progress(run), run.since[:19], Text(run.folder))
    return table


def _progress(run: RunStanding) -> str:
    if run.round is None:
        return "went on above" if run.went_on else "-"
    return str(run.round) if run.rounds is None else f"{run.round} of {run.rounds}"


def _ago(moment: float | None) -> str:
    if moment is None:
        return "never"
    ago = max(0, round(time.time() - moment))
    return f"{ago} s ago" if ago < 120 else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
