"""A run on the server's machine: wait for clients, submit, watch the run's folder, audit."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.audit.auditor import audit
from common.audit.report import AuditReport
from common.config import RunConfig, to_toml
from common.errors import CheckpointError, FolderInUse
from common.flower_internals.bundle import build_bundle
from common.flower_internals.control import FlowerRefused, RunInfo
from common.run_folder import RunFolder, exclusively, write_atomically
from server.deployment.enrolment import Enrolments
from server.deployment.errors import RunUnfinished, ServerFailed
from server.deployment.following import Follower
from server.deployment.state_folder import StateFolder
from server.deployment.status import with_control
from server.display import RunDisplay

_POLL_SECONDS = 0.2
_ASK_SECONDS = 2.0
_UNREACHABLE_SECONDS = 90.0
_NODES_SECONDS = 1.0
_SAYS_NOTHING = ("", "Task failed with unknown error", "No heartbeat received from the task")


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run that is to be made.

    Args:
        state: the server's folder.
        config: its settings, with absolute paths; `runtime.out` is its folder.
        clients: how many must be online before it starts.
        wait_seconds: how long they are waited for.
    """

    state: Path
    config: RunConfig
    clients: int
    wait_seconds: float

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(Path(self.config.runtime.out))


def refuse_a_second(order: Order) -> None:
    """Refuse a run while another one is under way: both would write the server's log.

    Raises:
        ServerFailed: naming the other; or without a server.
    """
    with with_control(order.state) as (control, _):
        under_way = [run.run_id for run in control.runs() if not run.finished]
    noted = StateFolder(order.state).folders_of_runs()
    for run_id in under_way:
        folder = noted.get(run_id, "")
        if folder != str(order.folder.root):
            raise ServerFailed(
                f"run {_shown(folder) or run_id} is under way on this server: wait for it, or end it with "
                "Ctrl-C" + (f" ({way_on(RunFolder(Path(folder)))} shows it again)" if folder else "")
            )


def _shown(folder: str) -> str:
    """Name a folder from the one where the command runs, if it lies in it."""
    here = Path.cwd()
    return str(Path(folder).relative_to(here)) if Path(folder).is_relative_to(here) else folder


def wait_for_clients(order: Order, say: Callable[[str], None]) -> None:
    """Wait until enough enrolled clients are online, and say who is there whenever that changes.

    Raises:
        ServerFailed: when the time is over, naming who is there and who is not; or without a server.
    """
    deadline = time.monotonic() + order.wait_seconds
    said = ""
    while True:
        here, absent = who_is_here(order.state)
        if said != (line := _who(here, absent, order.clients)):
            say(line)
            said = line
        if len(here) >= order.clients:
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(_NODES_SECONDS)
    missing = f"; not here: {_names(absent)}" if absent else ""
    enough_keys = len(here) + len(absent) >= order.clients
    mend = "start the others, wait longer (--wait)," if enough_keys else "let more in (`fedledger enroll`)"
    raise ServerFailed(
        f"only {len(here)} of {order.clients} clients came within {order.wait_seconds:g} s (here: "
        f"{_names(here)}{missing}): {mend} or start with fewer (--clients)"
    )


def who_is_here(state: Path) -> tuple[list[str], list[str]]:
    """Return the names of enrolled clients that are online, and of those that are not.

    Raises:
        ServerFailed: when no server runs on the folder.
    """
    with with_control(state) as (control, enrolments):
        online = {node.node_id for node in control.nodes() if node.status == "online"}
        entries = [entry for entry in enrolments.all() if not entry.revoked_at]
    here = [entry.name for entry in entries if entry.node_id in online]
    return here, [entry.name for entry in entries if entry.node_id not in online]


def names_of_nodes(state: Path) -> dict[int, str]:
    """Return the names of all clients that were ever enrolled, by their nodes; with them who was revoked."""
    return {
        entry.node_id: f"{entry.name} (revoked)" if entry.revoked_at else entry.name
        for entry in Enrolments(StateFolder(state).enrolments).all()
    }


def submit(order: Order, say: Callable[[str], None] = lambda _: None) -> int:
    """Hand the run to SuperLink and return its id there; that of the run which goes on in its folder already.

    A run goes on when the command that watches it ends: the same command with --resume watches it again.

    Raises:
        CheckpointError: when the folder cannot be written, or another process than a run uses it.
        FlowerRefused: when SuperLink refuses the run.
        ServerFailed: when another run is under way; or without a server.
    """
    refuse_a_second(order)
    folder = order.folder
    if not folder.config.exists():
        write_atomically(folder.config, to_toml(order.config).encode())
    try:
        with exclusively(folder):
            folder.stop_request.unlink(missing_ok=True)
    except FolderInUse:
        if (goes_on := _run_in(order)) is None:
            raise
        say("This run goes on already; from here on it is watched again.")
        return goes_on
    with with_control(order.state) as (control, _):
        run_id = control.start_run(build_bundle(), order.config.flat())
    StateFolder(order.state).remember_run(run_id, folder.root)
    return run_id


def _run_in(order: Order) -> int | None:
    """Return the run that goes on in the order's folder, as far as this server knows."""
    noted = StateFolder(order.state).folders_of_runs()
    ids = [run_id for run_id, folder in noted.items() if folder == str(order.folder.root)]
    if not ids:
        return None
    with with_control(order.state) as (control, _):
        run = control.runs(ids[-1])[0]
    return None if run.finished else run.run_id


def watch(order: Order, run_id: int, follower: Follower, display: RunDisplay) -> None:
    """Show how the run goes on until it is over.

    Raises:
        ServerFailed: when the run fails; RunUnfinished where it can go on.
        RunUnfinished: when SuperLink is gone for too long.
    """
    asked, heard = 0.0, time.monotonic()
    while True:
        over = None
        if time.monotonic() - asked >= _ASK_SECONDS:
            asked = time.monotonic()
            over, reached = _state_of(order.state, run_id)
            heard = asked if reached else heard
        follower.show(display)
        if over is not None:
            return _end(order, over, follower)
        if time.monotonic() - heard > _UNREACHABLE_SECONDS:
            raise RunUnfinished(f"the server is gone; once it is back: {way_on(order.folder)}")
        time.sleep(_POLL_SECONDS)


def stop_at_once(order: Order, run_id: int) -> None:
    """End the run within its round; what clients charged for that round stays charged."""
    with with_control(order.state) as (control, _):
        control.stop_run(run_id)


def report_on(order: Order) -> AuditReport:
    """Audit the run's folder, as a stranger would.

    Raises:
        CheckpointError: when the run wrote nothing that could be audited.
    """
    if not order.folder.rounds.exists():
        raise CheckpointError(f"no round of {order.folder.root} was finished: there is nothing to audit")
    return audit(order.folder.root)


def way_on(folder: RunFolder) -> str:
    """Return the command that continues the run."""
    return f"fedledger run --resume {shlex.quote(str(folder.root))}"


def _state_of(state: Path, run_id: int) -> tuple[RunInfo | None, bool]:
    """Return the run if it is over, and whether SuperLink answered."""
    try:
        with with_control(state) as (control, _):
            run = control.runs(run_id)[0]
    except (ServerFailed, FlowerRefused):
        return None, False  # it may be starting again
    return (run if run.finished else None), True


def _end(order: Order, run: RunInfo, follower: Follower) -> None:
    if follower.ended:
        return
    details = run.details.removeprefix("ServerApp failed with exception: ")
    details = follower.named(" ".join(details.split()).rstrip("."))
    if details in _SAYS_NOTHING:
        details = "its process, or SuperLink, was ended from outside"
    line, folder = f"the run ended early: {details}", order.folder
    if not (folder.checkpoint / "state.json").exists():
        raise ServerFailed(line)
    if folder.rounds.exists() and not folder.rounds.stat().st_size:  # its settings may be what was wrong
        other = "choose other settings and another --out"
        raise ServerFailed(f"{line}; no round was done: mend that and {way_on(folder)}, or {other}")
    raise RunUnfinished(f"{line}; it goes on with {way_on(folder)}")


def _who(here: list[str], absent: list[str], needed: int) -> str:
    line = f"{len(here)} of {needed} clients are here: {_names(here)}"
    lacking = needed - len(here)
    if lacking <= 0:
        return line
    if (lacking_keys := lacking - len(absent)) > 0:
        missing = f"; not here: {_names(absent)}" if absent else ""
        return f"{line}{missing}; {lacking_keys} more must be let in with `fedledger enroll`"
    return f"{line}; waiting for {lacking} of {_names(absent)}"


def _names(names: list[str]) -> str:
    return ", ".join(names) or "nobody"
