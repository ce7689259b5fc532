"""What a server's folder and the running server tell about clients and runs, in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.flower_internals.control import ControlApi, NodeInfo
from server.deployment.enrolment import Enrolled, Enrolments
from server.deployment.serving import control_api
from server.deployment.state_folder import StateFolder

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


def print_status(state: Path) -> None:
    """Print the server's addresses, a table of nodes and one of runs.

    Raises:
        ServerFailed: when no server runs on the folder.
    """
    folder = StateFolder(state)
    running = folder.running()
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPED_WIDTH)
    console.print(
        f"Server {running.gateway} ({'TLS' if running.tls else 'plain HTTP'}), process {running.pid}; "
        f"metrics http://{running.metrics}/metrics",
        soft_wrap=True,
    )
    with with_control(state) as (control, enrolments):
        nodes = {node.node_id: node for node in control.nodes()}
        runs = control.runs()[:_LATEST_RUNS]
        console.print(_node_table(enrolments.all(), nodes))
    folders = folder.folders_of_runs()
    table = Table("run", "status", "since", "folder", title="Runs", title_justify="left")
    for run in runs:
        table.add_row(str(run.run_id), run.status, run.pending_at[:19], Text(folders.get(run.run_id, "")))
    console.print(table if runs else "No runs yet.")


def _node_table(entries: list[Enrolled], nodes: dict[int, NodeInfo]) -> Table:
    table = Table("client", "status", "last seen", "node", title="Clients", title_justify="left")
    for entry in entries:
        node = nodes.get(entry.node_id)
        table.add_row(entry.name, _status(entry, node), _seen(node), str(entry.node_id))
    return table


def _status(entry: Enrolled, node: NodeInfo | None) -> str:
    if entry.revoked_at:
        return "revoked"
    if node is None or node.status == "unregistered":
        return "unknown to SuperLink: enroll it again"
    return "never seen" if node.status == "registered" else node.status


def _seen(node: NodeInfo | None) -> str:
    if node is None or node.last_seen is None:
        return "never"
    ago = max(0, round(time.time() - node.last_seen))
    return f"{ago} s ago" if ago < 120 else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(node.last_seen))
