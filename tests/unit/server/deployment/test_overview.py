"""What a status tells: who is here, how runs stand, what is left of budgets."""

from __future__ import annotations

import contextlib
import json
import math

import pytest

from common.config import resolve, to_toml
from common.flower_internals.control import NodeInfo, RunInfo
from common.ledger import parse_lines
from common.run_folder import LedgerHome, RunFolder
from server.deployment import status as module
from server.deployment.enrolment import Enrolled
from server.deployment.overview import BudgetLeft, standing_of_clients, standing_of_run, standings_of_runs
from server.deployment.state_folder import Running, StateFolder
from server.folder_observer import FolderObserver
from server.seen import SeenLedgers
from server.state import ClientRecord, RunState
from tests.command_line import run_command
from tests.small_federation import MODEL, MadeUpClient


def enrolled(name: str, node_id: int, **more) -> Enrolled:
    return Enrolled(name=name, public_key="", node_id=node_id, enrolled_at="2026-01-01T00:00:00", **more)


def node(node_id: int, status: str = "online", last_seen: float | None = 1e9) -> NodeInfo:
    return NodeInfo(node_id=node_id, name="", status=status, public_key=b"", last_seen=last_seen)


@pytest.fixture
def ledger():
    return parse_lines(MadeUpClient(3, 24, 1.0).lines)


@pytest.fixture
def run(tmp_path, ledger):
    """Return the folder of a run that one client of node 7 has joined, with a home of its own."""
    folder, home = RunFolder(tmp_path / "run"), tmp_path / "home"
    folder.root.mkdir()
    settings = {"runtime.ledgers": str(home), "federation.num-server-rounds": 5}
    folder.config.write_text(to_toml(resolve(settings)))
    observer = FolderObserver(folder, "", SeenLedgers(LedgerHome(home)))
    client = ClientRecord(node_id=7, partition_id=3, num_examples=24, ledger=ledger)
    observer.joined(RunState(run="r", round=2, arrays=MODEL, velocity={}, clients={3: client}), [])
    return folder


def standings(run, *entries, nodes=()):
    found = standing_of_clients(entries, nodes, [str(run.root)], run.root.parent / "default")
    return {client.name: client for client in found}


def test_a_client_that_took_part_has_a_budget_and_another_has_none(run, ledger):
    found = standings(run, enrolled("a", 7), enrolled("b", 8), nodes=[node(7), node(8, "offline")])
    assert (found["a"].status, found["b"].status, found["b"].budget) == ("online", "offline", None)
    assert (found["a"].number, found["b"].number) == (3, None)
    budget = found["a"].budget
    assert (budget.ledger_id, budget.num_examples) == (ledger.genesis.ledger_id, 24)
    assert (budget.budget, budget.left) == (ledger.genesis.budget_epsilon, ledger.genesis.budget_epsilon)


def test_what_is_left_is_the_rest_of_the_budget_and_never_below_none():
    made = {"ledger_id": "x", "num_examples": 1, "delta": 1e-5}
    assert BudgetLeft(spent=3.0, budget=8.0, **made).left == 5.0
    assert BudgetLeft(spent=math.inf, budget=8.0, **made).left == 0.0
    assert BudgetLeft(spent=3.0, budget=None, **made).left is None


@pytest.mark.parametrize(
    ("entry", "nodes", "status"),
    [
        (enrolled("a", 1), [], "unknown to SuperLink: enroll it again"),
        (enrolled("a", 1), [node(1, "registered", None)], "never seen"),
        (enrolled("a", 1, revoked_at="2026"), [node(1)], "revoked"),
    ],
)
def test_the_status_of_a_client_in_words(run, entry, nodes, status):
    assert standings(run, entry, nodes=nodes)["a"].status == status


def test_a_run_stands_where_its_folder_says(run):
    info = RunInfo(run_id=5, status="running", details="", pending_at="2026-01-01T00:00:00")
    found = standing_of_run(info, str(run.root))
    assert (found.round, found.rounds) == (2, 5)
    with run.progress.open("a") as file:
        file.write('{"event": "round-finished", "round": 3}\n"no event"\n{"event": "round-fin')
    assert standing_of_run(info, str(run.root)).round == 3
    gone = standing_of_run(info, str(run.root / "gone"))
    assert (gone.round, gone.rounds) == (None, None)


@pytest.mark.parametrize(("done", "status"), [(4, "finished:early"), (5, "finished:completed")])
def test_a_run_that_ended_before_its_last_round_is_not_completed(run, done, status):
    info = RunInfo(run_id=5, status="finished:completed", details="", pending_at="2026-01-01T00:00:00")
    with run.progress.open("a") as file:
        file.write(f'{{"event": "round-finished", "round": {done}}}\n')
    assert standing_of_run(info, str(run.root)).status == status


def test_only_the_newest_run_of_a_folder_has_the_folders_rounds(run, tmp_path):
    infos = [
        RunInfo(run_id=number, status="finished:failed", details="", pending_at="2026-01-01T00:00:00")
        for number in (9, 8, 7, 6)
    ]
    found = standings_of_runs(infos, {9: str(tmp_path / "gone"), 8: str(run.root), 7: str(run.root)})
    assert [(one.run_id, one.round, one.rounds, one.went_on) for one in found] == [
        (9, None, None, False),
        (8, 2, 5, False),
        (7, None, None, True),
        (6, None, None, False),
    ]
    assert [one.folder for one in found] == [str(tmp_path / "gone"), str(run.root), str(run.root), ""]


def test_a_copy_that_does_not_verify_is_no_budget(run, ledger):
    copy = run.root.parent / "home" / "seen" / f"{ledger.genesis.ledger_id}.jsonl"
    copy.write_bytes(copy.read_bytes().replace(b'"num_examples":24', b'"num_examples":25'))
    assert standings(run, enrolled("a", 7))["a"].budget is None
    copy.unlink()
    assert standings(run, enrolled("a", 7))["a"].budget is None


@pytest.fixture
def served(run, monkeypatch):
    state = StateFolder(run.root.parent / "state")
    state.root.mkdir()
    state.remember_run(5, run.root)

    class Control:
        def nodes(self):
            return [node(7)]

        def runs(self):
            return [RunInfo(run_id=5, status="running", details="", pending_at="2026-01-01T00:00:00Z")]

    class Keys:
        def all(self):
            return [enrolled("site-a", 7), enrolled("site-b", 8)]

    @contextlib.contextmanager
    def control(_):
        yield Control(), Keys()

    running = Running(pid=1, superlink="127.0.0.1:1", gateway="0.0.0.0:8443", metrics="127.0.0.1:2", tls=True)
    monkeypatch.setattr(module, "with_control", control)
    monkeypatch.setattr(StateFolder, "running", lambda _: running)
    return state.root


def test_the_command_shows_it(served):
    shown = run_command("status", "--state", str(served)).out
    assert "site-a" in shown
    assert "2 of 5" in shown
    assert "since (UTC)" in shown
    assert "2001-09-09 01:46:40 UTC" in shown
    assert "of 8" in shown


def test_a_narrow_terminal_loses_nothing(served, monkeypatch):
    monkeypatch.setattr(module, "_PIPED_WIDTH", 80)
    shown = run_command("status", "--state", str(served)).out
    assert "…" not in shown
    assert "examples" in shown


def test_the_command_tells_programs(served, ledger):
    told = json.loads(run_command("status", "--state", str(served), "--json").out)
    first, second = told["clients"]
    assert (first["name"], first["number"], first["status"]) == ("site-a", 3, "online")
    assert first["last_seen"] == 1e9
    assert first["budget"]["ledger_id"] == ledger.genesis.ledger_id
    assert {"spent", "left", "budget", "delta"} <= set(first["budget"])
    assert second["budget"] is None
    assert (told["runs"][0]["round"], told["runs"][0]["rounds"]) == (2, 5)
    assert told["server"]["gateway"] == "0.0.0.0:8443"
