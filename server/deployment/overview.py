"""What a running server knows: who is here, how runs stand, and what is left of each client's budget."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import read_toml, resolve
from common.errors import FedLedgerError
from common.flower_internals.control import NodeInfo, RunInfo
from common.ledger import LedgerView
from common.privacy.accounting import epsilon_upper_bound
from common.run_folder import LedgerHome, RunFolder
from server.deployment.enrolment import Enrolled
from server.seen import SeenLedgers

_COMPLETED, _EARLY = "finished:completed", "finished:early"
"""What Flower says of a run whose server's part ended well, and what is said where rounds of it are left."""


@dataclass(frozen=True, kw_only=True)
class BudgetLeft:
    """How a ledger's budget stood when the server saw it last.

    Args:
        ledger_id: the ledger's identity.
        num_examples: public size n.
        spent: epsilon of everything charged, composed; at most 0.02 % too high, infinite without noise.
        budget: lifetime epsilon; None where the ledger sets none.
        delta: of both.
    """

    ledger_id: str
    num_examples: int
    spent: float
    budget: float | None
    delta: float

    @property
    def left(self) -> float | None:
        """How far `spent` is from the budget; epsilons do not add up, so this is no price list."""
        return None if self.budget is None else max(0.0, self.budget - self.spent)

    @classmethod
    def of(cls, ledger: LedgerView) -> BudgetLeft:
        """Return how a ledger stands."""
        genesis = ledger.genesis
        return cls(
            ledger_id=genesis.ledger_id,
            num_examples=ledger.num_examples,
            spent=epsilon_upper_bound(ledger.mechanisms(), genesis.delta),
            budget=genesis.budget_epsilon,
            delta=genesis.delta,
        )


@dataclass(frozen=True, kw_only=True)
class ClientStanding:
    """One enrolled client: its connection, and once it has taken part in a run its number and its budget."""

    name: str
    number: int | None
    status: str
    last_seen: float | None
    node_id: int
    budget: BudgetLeft | None


@dataclass(frozen=True, kw_only=True)
class RunStanding:
    """One run: its state in Flower, its folder, and how many of its rounds are done, as far as known.

    Args:
        status: Flower's, or `finished:early` where the run ended in order before its last round.
        since: when it was submitted, UTC.
        round: None as well where a newer run goes on in its folder, whose progress is that one's.
        rounds: planned.
        went_on: whether a newer run goes on in its folder (or wrote another into it).
    """

    run_id: int
    status: str
    since: str
    folder: str
    round: int | None
    rounds: int | None
    went_on: bool


def standing_of_clients(
    entries: Iterable[Enrolled], nodes: Iterable[NodeInfo], folders: Iterable[str], default_home: Path
) -> list[ClientStanding]:
    """Return how each enrolled client stands.

    Args:
        folders: of runs, oldest first; the last one that a node joined tells which ledger is its own.
        default_home: the ledger home of runs whose own folder can no longer be read.
    """
    known = {node.node_id: node for node in nodes}
    folders = list(folders)
    ledgers = _ledgers_of_nodes(folders, default_home)
    numbers = _numbers_of_nodes(folders)
    return [
        _standing(
            entry, known.get(entry.node_id), ledgers.get(str(entry.node_id)), numbers.get(entry.node_id)
        )
        for entry in entries
    ]


def standings_of_runs(runs: Iterable[RunInfo], folders: Mapping[int, str]) -> list[RunStanding]:
    """Return how runs stand.

    Args:
        runs: newest first.
        folders: by run.
    """
    standings: list[RunStanding] = []
    for run in runs:
        folder = folders.get(run.run_id, "")
        newest = not folder or all(folder != newer.folder for newer in standings)
        standings.append(standing_of_run(run, folder, newest=newest))
    return standings


def standing_of_run(run: RunInfo, folder: str, *, newest: bool = True) -> RunStanding:
    """Return how a run stands, as far as its folder (which may be gone) tells of the newest run in it."""
    done, planned, status = None, None, run.status
    if folder and newest:
        events = list(_events(RunFolder(Path(folder))))
        done = max((number for event in events if (number := _rounds_done(event)) is not None), default=None)
        planned = _planned_rounds(RunFolder(Path(folder)))
        if status == _COMPLETED and (done or 0) < (planned or 0):
            status = _EARLY
    return RunStanding(
        run_id=run.run_id,
        status=status,
        since=run.pending_at,
        folder=folder,
        round=done,
        rounds=planned,
        went_on=not newest,
    )


def _standing(
    entry: Enrolled, node: NodeInfo | None, ledger: LedgerView | None, number: int | None
) -> ClientStanding:
    return ClientStanding(
        name=entry.name,
        number=number,
        status=_status(entry, node),
        last_seen=None if node is None else node.last_seen,
        node_id=entry.node_id,
        budget=None if ledger is None else BudgetLeft.of(ledger),
    )


def _status(entry: Enrolled, node: NodeInfo | None) -> str:
    if entry.revoked_at:
        return "revoked"
    if node is None or node.status == "unregistered":
        return "unknown to SuperLink: enroll it again"
    return "never seen" if node.status == "registered" else node.status


def _ledgers_of_nodes(folders: Iterable[str], default_home: Path) -> dict[str, LedgerView]:
    """Return by node its ledger, the longest of what several homes have seen of it."""
    owned: dict[str, str] = {}
    homes = {default_home: None}
    for folder in map(RunFolder, map(Path, folders)):
        homes[_home_of(folder, default_home)] = None
        for event in _events(folder):
            if event.get("event") == "joined" and isinstance(nodes := event.get("nodes"), dict):
                owned |= {str(node): str(identity) for node, identity in nodes.items()}
    seen = [SeenLedgers(LedgerHome(home)) for home in homes]
    found = {
        node: [ledger for memory in seen if (ledger := memory.read(identity)) is not None]
        for node, identity in owned.items()
    }
    return {
        node: max(ledgers, key=lambda ledger: len(ledger.entries))
        for node, ledgers in found.items()
        if ledgers
    }


def _numbers_of_nodes(folders: Iterable[str]) -> dict[int, int]:
    """Return by node the number by which audits and reports call its client."""
    numbers: dict[int, int] = {}
    for folder in map(RunFolder, map(Path, folders)):
        for event in _events(folder):
            if event.get("event") == "joined" and isinstance(joined := event.get("numbers"), dict):
                numbers |= {node: int(number) for number, node in joined.items() if isinstance(node, int)}
    return numbers


def _home_of(folder: RunFolder, default: Path) -> Path:
    try:
        return folder.home(resolve(read_toml(folder.config)).runtime.ledgers).root
    except FedLedgerError:
        return default


def _planned_rounds(folder: RunFolder) -> int | None:
    try:
        return resolve(read_toml(folder.config)).federation.num_server_rounds
    except FedLedgerError:
        return None


def _rounds_done(event: dict[str, Any]) -> int | None:
    number = event.get({"joined": "done", "round-finished": "round"}.get(str(event.get("event")), ""))
    return number if isinstance(number, int) else None


def _events(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """Yield what a run has told so far; of what is no event, nothing."""
    try:
        lines = folder.progress.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
