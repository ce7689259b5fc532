"""Waiting for clients, following a run's folder, and what is said when it ends early."""

from __future__ import annotations

import contextlib
import io
import json
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from common.config import resolve, to_toml
from common.errors import CheckpointError, ConfigError, DataError, FolderInUse
from common.flower_internals.control import FlowerRefused, NodeInfo, RunInfo
from common.new_run import settings_to_resume
from common.run_folder import RunFolder, exclusively
from server.deployment import run as run_module
from server.deployment import run_cli
from server.deployment.enrolment import Enrolled
from server.deployment.errors import RunUnfinished, ServerFailed
from server.deployment.following import Follower
from server.deployment.run import Order, refuse_a_second, report_on, submit, wait_for_clients, watch
from server.deployment.state_folder import StateFolder
from server.display import RunDisplay
from server.folder_observer import FolderObserver
from tests.command_line import run_command


class MadeUpServer:
    """A SuperLink and its list of keys."""

    def __init__(self, names, online):
        self.entries = [
            Enrolled(name=name, public_key="", node_id=number, enrolled_at="")
            for number, name in enumerate(names)
        ]
        self.online = list(online)
        self.run = RunInfo(run_id=7, status="running", details="", pending_at="")
        self.latest = []
        self.settings = None
        self.gone = False

    @contextlib.contextmanager
    def control(self, _state):
        if self.gone:
            raise ServerFailed("no server runs")
        yield self, self

    def all(self):
        return self.entries

    def nodes(self):
        here = self.online.pop(0) if len(self.online) > 1 else self.online[0]
        return [
            NodeInfo(
                node_id=entry.node_id,
                name=entry.name,
                status="online" if entry.name in here else "offline",
                public_key=b"",
                last_seen=None,
            )
            for entry in self.entries
        ]

    def start_run(self, bundle, settings):
        assert bundle == b"bundle"
        self.settings = settings
        return 7

    def runs(self, run_id=None):
        assert run_id in (None, 7)
        return [self.run] if run_id else self.latest


@pytest.fixture
def server(monkeypatch):
    made = MadeUpServer(["a", "b", "c"], [["a"], ["a"], ["a", "b"]])
    monkeypatch.setattr(run_module, "with_control", made.control)
    monkeypatch.setattr(run_module, "build_bundle", lambda: b"bundle")
    monkeypatch.setattr(run_module, "_NODES_SECONDS", 0.01)
    monkeypatch.setattr(run_module, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(run_module, "_ASK_SECONDS", 0.0)
    return made


@pytest.fixture
def order(tmp_path):
    (tmp_path / "state").mkdir()
    config = resolve({"runtime.out": str(tmp_path / "run")})
    return Order(state=tmp_path / "state", config=config, clients=2, wait_seconds=5)


def test_a_run_that_goes_on_without_its_command_is_watched_again(server, order):
    said = []
    assert submit(order, said.append) == 7
    with exclusively(order.folder):
        server.settings = None
        assert submit(order, said.append) == 7
        assert server.settings is None  # no second run was begun
        assert said == ["This run goes on already; from here on it is watched again."]
        server.run = RunInfo(run_id=7, status="finished:completed", details="", pending_at="")
        with pytest.raises(FolderInUse, match="in use by another process"):
            submit(order)


@pytest.mark.parametrize("status", ["pending", "starting", "running"])
def test_a_second_run_is_refused_at_once_while_another_is_under_way(server, order, status, monkeypatch):
    monkeypatch.chdir(order.state.parent)
    other = order.state.parent / "runs" / "second"
    StateFolder(order.state).remember_run(8, other)
    server.latest = [RunInfo(run_id=8, status=status, details="", pending_at="")]
    line = "^run runs/second is under way on this server: wait for it, or end it with Ctrl-C"
    with pytest.raises(ServerFailed, match=line):
        refuse_a_second(order)
    with pytest.raises(ServerFailed, match=line):
        submit(order)
    assert server.settings is None
    assert not order.folder.root.exists()
    monkeypatch.chdir(order.state)
    with pytest.raises(ServerFailed, match=f"^run {other} is under way"):
        refuse_a_second(order)
    server.latest = [RunInfo(run_id=9, status=status, details="", pending_at="")]
    with pytest.raises(ServerFailed, match=r"^run 9 is under way.*Ctrl-C$"):
        refuse_a_second(order)


def test_neither_a_run_that_is_over_nor_the_very_same_run_is_a_second_one(server, order):
    StateFolder(order.state).remember_run(7, order.folder.root)
    StateFolder(order.state).remember_run(8, order.state.parent / "second")
    server.latest = [server.run, RunInfo(run_id=8, status="finished:failed", details="", pending_at="")]
    refuse_a_second(order)


def test_the_command_refuses_a_second_run_before_it_waits_for_clients(server, order):
    server.latest = [RunInfo(run_id=8, status="running", details="", pending_at="")]
    server.online = [[]]
    out = str(order.state.parent / "run")
    outcome = run_command("run", "--state", str(order.state), "--out", out, "--clients", "9")
    assert (outcome.status, outcome.out) == (2, "")
    assert "run 8 is under way on this server" in outcome.err


def screen():
    written = io.StringIO()
    return RunDisplay(Console(file=written, width=120), rounds=2), written


def test_each_change_of_who_is_here_is_said_once(server, order):
    said = []
    wait_for_clients(order, said.append)
    assert said == [
        "1 of 2 clients are here: a; waiting for 1 of b, c",
        "2 of 2 clients are here: a, b",
    ]


def test_whoever_waits_for_clients_that_nobody_enrolled_is_told(server, order):
    said = []
    server.online = [["a", "b"], ["a", "b", "c"]]
    with pytest.raises(ServerFailed, match="only 3 of 4 clients came"):
        wait_for_clients(
            Order(state=order.state, config=order.config, clients=4, wait_seconds=0.1), said.append
        )
    assert said == [
        "2 of 4 clients are here: a, b; not here: c; 1 more must be let in with `fedledger enroll`",
        "3 of 4 clients are here: a, b, c; 1 more must be let in with `fedledger enroll`",
    ]


def test_the_wait_ends_in_who_is_there_and_who_is_not(server, order):
    server.online = [["c"]]
    with pytest.raises(
        ServerFailed, match=r"only 1 of 2 clients came within 0 s \(here: c; not here: a, b\)"
    ):
        wait_for_clients(Order(state=order.state, config=order.config, clients=2, wait_seconds=0), print)


def test_whoever_waits_in_vain_for_clients_that_nobody_enrolled_is_told_to_enroll(server, order):
    server.online = [["c"]]
    with pytest.raises(
        ServerFailed,
        match=r"here: c; not here: a, b\): let more in \(`fedledger enroll`\) or start with fewer",
    ):
        wait_for_clients(Order(state=order.state, config=order.config, clients=4, wait_seconds=0), print)


def test_a_revoked_client_is_nobody(server, order):
    server.entries[0] = server.entries[0].model_copy(update={"revoked_at": "now"})
    server.online = [["a", "b"]]
    with pytest.raises(ServerFailed, match=r"\(here: b; not here: c\)"):
        wait_for_clients(Order(state=order.state, config=order.config, clients=2, wait_seconds=0), print)


def test_a_run_is_submitted_with_its_settings_and_remembered(server, order):
    assert submit(order) == 7
    assert server.settings["runtime.out"] == str(order.folder.root)
    assert order.folder.config.exists()
    note = json.loads((order.state / "runs.jsonl").read_text())
    assert note == {"run_id": "7", "folder": str(order.folder.root)}


def test_an_old_request_to_stop_does_not_stop_the_next_run(server, order):
    submit(order)
    order.folder.stop_request.touch()
    submit(order)
    assert not order.folder.stop_request.exists()


def event(folder: RunFolder, name: str, **fields) -> None:
    folder.root.mkdir(exist_ok=True)
    with folder.progress.open("a") as file:
        file.write(json.dumps({"event": name, **fields}) + "\n")


def finished(folder: RunFolder, number: int) -> None:
    event(
        folder,
        "round-finished",
        round=number,
        accuracy=0.5,
        spent="epsilon 1.000",
        refused=[[1, "policy: [red]no[/]"]],
        seconds=1.0,
    )


def test_what_the_run_writes_is_shown_and_nothing_of_an_earlier_start(order):
    finished(order.folder, 1)
    follower = Follower(order.folder)
    event(order.folder, "joined", clients=2, examples=10, done=1, refused=["client 9 did not join: x"])
    event(order.folder, "round-started", round=2, cohort=2)
    event(order.folder, "client-answered")
    finished(order.folder, 2)
    event(order.folder, "of-another-version")
    event(order.folder, "joined", odd=1)
    event(order.folder, "ended", reason="all 2 rounds are done")
    display, written = screen()
    follower.show(display)
    assert written.getvalue().splitlines() == [
        "2 clients joined with 10 examples.",
        "client 9 did not join: x",
        "client 1 refused: policy: [red]no[/]",
        "round 2/2  accuracy 50.00%  epsilon 1.000  1.0 s",
        "Training is over: all 2 rounds are done.",
    ]
    assert follower.ended
    assert not follower.can_go_on


def test_a_run_that_can_go_on_says_so(order):
    follower = Follower(order.folder)
    event(order.folder, "ended", reason="too few", can_go_on=True)
    follower.show(screen()[0])
    assert follower.can_go_on


def test_clients_are_named_as_they_were_enrolled(order):
    follower = Follower(order.folder, lambda: {11: "site-a", 12: "site-b", 13: "site-c"})
    event(order.folder, "turned-away", node=13, number=-1, why="its ledger does not verify")
    event(order.folder, "turned-away", node=99, number=4, why="not ours")
    event(order.folder, "turned-away", node=99, number=-1, why="nobody's")
    event(
        order.folder,
        "joined",
        clients=2,
        examples=10,
        done=0,
        refused=["x"],
        numbers={"0": 11, "1": 12, "5": 77},
    )
    finished(order.folder, 1)
    event(order.folder, "turned-away", node=13, number=-1, why="it is gone", code="no-answer")
    left_out = [[0, "why not", "policy-refused"], [1, "it is gone", "no-answer"], [5, "no name", "x"]]
    event(order.folder, "round-failed", round=2, refused=left_out)
    display, written = screen()
    follower.show(display)
    assert written.getvalue().splitlines() == [
        "site-c refused: its ledger does not verify",
        "client 4 refused: not ours",
        "a node refused: nobody's",
        "2 clients joined with 10 examples.",
        "site-b refused: policy: [red]no[/]",
        "round 1/2  accuracy 50.00%  epsilon 1.000  1.0 s",
        "site-c left out: it is gone",
        "site-a refused: why not",
        "site-b left out: it is gone",
        "client 5 refused: no name",
    ]


def test_who_was_revoked_meanwhile_is_named_so(order):
    names = {11: "site-a"}
    follower = Follower(order.folder, lambda: names)
    event(order.folder, "joined", clients=1, examples=5, done=0, refused=[], numbers={"1": 11})
    names[11] = "site-a (revoked)"
    finished(order.folder, 1)
    display, written = screen()
    follower.show(display)
    assert "site-a (revoked) refused: policy" in written.getvalue()


def test_whoever_watches_a_run_again_hears_the_same_names(order):
    event(order.folder, "joined", clients=1, examples=5, done=0, refused=[], numbers={"1": 11})
    follower = Follower(order.folder, lambda: {11: "site-a (revoked)"})
    finished(order.folder, 1)
    display, written = screen()
    follower.show(display)
    assert "joined" not in written.getvalue()
    assert "site-a (revoked) refused: policy" in written.getvalue()


def test_half_a_line_is_shown_when_it_is_whole(order):
    follower = Follower(order.folder)
    finished(order.folder, 1)
    whole = order.folder.progress.read_bytes()
    order.folder.progress.write_bytes(whole[:20])
    display, written = screen()
    follower.show(display)
    assert written.getvalue() == ""
    order.folder.progress.write_bytes(whole + b"nonsense\n")
    follower.show(display)
    assert "round 1/2" in written.getvalue()


def over(status, details=""):
    return RunInfo(run_id=7, status=status, details=details, pending_at="")


def test_a_run_that_ended_well_is_watched_to_its_last_event(server, order):
    follower = Follower(order.folder)
    event(order.folder, "ended", reason="done")
    server.run = over("finished:completed")
    display, written = screen()
    watch(order, 7, follower, display)
    assert "Training is over: done." in written.getvalue()


@pytest.mark.parametrize(
    ("details", "line"),
    [
        ("ServerApp failed with exception: no client could join:\n x.", "no client could join: x"),
        ("Task failed with unknown error.", "its process, or SuperLink, was ended from outside"),
        ("No heartbeat received from the task", "its process, or SuperLink, was ended from outside"),
        ("", "its process, or SuperLink, was ended from outside"),
    ],
)
@pytest.mark.parametrize("began", [False, True])
def test_a_run_that_failed_says_why_and_how_to_go_on(server, order, details, line, began):
    server.run = over("finished:failed", details)
    if began:
        order.folder.checkpoint.mkdir(parents=True)
        (order.folder.checkpoint / "state.json").touch()
    with pytest.raises(ServerFailed) as caught:
        watch(order, 7, Follower(order.folder), screen()[0])
    assert caught.value.exit_status == (75 if began else 2), "it can go on, or never began"
    assert f"the run ended early: {line}" in str(caught.value)
    assert ("fedledger run --resume" in str(caught.value)) is began
    assert "\n" not in str(caught.value)


def test_a_run_that_no_client_began_names_the_one_that_it_quotes(server, order):
    server.run = over("finished:failed", "no client took part in round 1; client 1: client 0: unknown.")
    follower = Follower(order.folder, lambda: {12: "site-b"})
    event(order.folder, "joined", clients=2, examples=9, done=0, refused=[], numbers={"0": 11, "1": 12})
    with pytest.raises(ServerFailed, match=r"in round 1; site-b: client 0: unknown$"):
        watch(order, 7, follower, screen()[0])


def test_a_client_that_could_not_join_is_named_where_the_run_ends(server, order):
    server.run = over("finished:failed", "no client could join: client 778867 did not join: x")
    follower = Follower(order.folder, lambda: {12: "site-b"})
    event(order.folder, "turned-away", node=12, number=778867, why="x")
    with pytest.raises(ServerFailed, match="no client could join: site-b did not join: x$"):
        watch(order, 7, follower, screen()[0])


@pytest.mark.parametrize(("rounds", "another"), [(b"", True), (b"{}\n", False)])
def test_a_run_without_a_round_may_need_other_settings(server, order, rounds, another):
    server.run = over("finished:failed", "no client took part in round 1")
    order.folder.checkpoint.mkdir(parents=True)
    (order.folder.checkpoint / "state.json").touch()
    order.folder.rounds.write_bytes(rounds)
    with pytest.raises(ServerFailed, match="fedledger run --resume") as caught:
        watch(order, 7, Follower(order.folder), screen()[0])
    assert ("other settings and another --out" in str(caught.value)) is another
    assert caught.value.exit_status == (2 if another else 75)


def test_a_superlink_that_starts_again_is_waited_for_and_a_lost_one_is_not(server, order, monkeypatch):
    answers = iter([FlowerRefused("away"), FlowerRefused("away"), None])

    def runs(_run_id):
        if (answer := next(answers, None)) is not None:
            raise answer
        return [over("finished:completed")]

    server.runs = runs
    event(order.folder, "ended", reason="done")
    follower = Follower(order.folder)
    event(order.folder, "ended", reason="done")
    watch(order, 7, follower, screen()[0])
    server.gone = True
    monkeypatch.setattr(run_module, "_UNREACHABLE_SECONDS", 0.05)
    with pytest.raises(ServerFailed, match=r"the server is gone; once it is back: fedledger run --resume"):
        watch(order, 7, Follower(order.folder), screen()[0])


def test_the_command_ends_with_the_status_of_what_can_go_on(server, order, monkeypatch):
    def lost(*_):
        raise RunUnfinished("the server is gone")

    monkeypatch.setattr(run_module, "watch", lost)
    out = str(order.state.parent / "new")
    outcome = run_command("run", "--state", str(order.state), "--out", out, "--clients", "1", "--wait", "9")
    assert (outcome.status, outcome.err) == (75, "fedledger: the server is gone\n")


def press(monkeypatch, presses, *, can_go_on):
    """Have Ctrl-C pressed while a run is watched; return what was stopped at once."""
    stopped = []

    def watched(_order, _run, follower, _display):
        for _ in range(presses):
            signal.raise_signal(signal.SIGINT)
        follower.can_go_on = can_go_on

    monkeypatch.setattr(run_module, "watch", watched)
    monkeypatch.setattr(run_module, "stop_at_once", lambda *_: stopped.append(True))
    monkeypatch.setattr(run_module, "report_on", lambda _: SimpleNamespace(verified=True))
    monkeypatch.setattr(run_cli, "summary", lambda *_: "what was spent")
    return stopped


@pytest.mark.parametrize(("presses", "line"), [(1, "; it"), (2, " within a round; the run")])
def test_ctrl_c_ends_the_command_with_one_line_that_names_the_folder(
    server, order, monkeypatch, presses, line
):
    stopped = press(monkeypatch, presses, can_go_on=True)
    out = order.state.parent / "new"
    outcome = run_command("run", "--state", str(order.state), "--out", str(out), "--clients", "1")
    assert outcome.err == f"fedledger: interrupted{line} goes on with fedledger run --resume {out}\n"
    assert (outcome.status, len(stopped)) == (130, presses - 1)
    assert ("what was spent" in outcome.out) == (presses == 1)


def test_ctrl_c_in_the_last_round_interrupts_nothing(server, order, monkeypatch):
    press(monkeypatch, 1, can_go_on=False)
    out = str(order.state.parent / "new")
    outcome = run_command("run", "--state", str(order.state), "--out", out, "--clients", "1")
    assert (outcome.status, outcome.err) == (0, "")


def test_without_a_finished_round_there_is_nothing_to_audit(order):
    with pytest.raises(CheckpointError, match="nothing to audit"):
        report_on(order)


def test_the_observer_of_the_folder_hears_a_request_to_stop(order):
    observer = FolderObserver(order.folder, "")
    order.folder.root.mkdir()
    assert not observer.stop_requested
    order.folder.stop_request.touch()
    assert observer.stop_requested


def test_a_folder_that_cannot_be_written_does_not_end_a_run(order):
    FolderObserver(RunFolder(order.folder.root / "none"), "").client_answered()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--clients", "0"), "--clients is at least 1"),
        (("--wait", "-1"), "--wait at least 0"),
        (("--wait", "nan"), "--wait at least 0"),
        (("--resume", "x", "--out", "y"), "leave out --config, --set and --out"),
        (("--resume", "{folder}/none"), "is not a run folder"),
        (("--set", "federation.num-client=2"), "did you mean federation.num-clients?"),
        (("--out", "{folder}"), "is not empty"),
        ((), "is not a server's folder"),
    ],
)
def test_the_command_refuses_with_one_line_and_writes_nothing(arguments, line, tmp_path):
    (tmp_path / "something").touch()
    filled = [argument.format(folder=tmp_path) for argument in arguments]
    if "--out" not in filled and "--resume" not in filled:
        filled += ["--out", str(tmp_path / "run")]
    outcome = run_command("run", "--state", str(tmp_path / "state"), *filled)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert line in outcome.err
    assert not (tmp_path / "run").exists()


def test_the_number_of_clients_is_kept_for_a_resumed_run_unless_the_settings_have_another(tmp_path):
    from server.deployment.run_cli import _settings

    out, state = str(tmp_path / "run"), tmp_path / "state"
    assert _settings(None, [], out, state, 3).federation.num_clients == 3
    assert _settings(None, ["federation.num-clients=5"], out, state, 3).federation.num_clients == 5


def test_no_path_of_a_run_climbs_and_comes_down_again(tmp_path, monkeypatch):
    from server.deployment.run_cli import _settings

    (tmp_path / "here").mkdir()
    (tmp_path / "public" / "test").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    given = ["data.dataset=folder", "data.data-dir=../public", "runtime.feature-cache=../cache"]
    config = _settings(None, given, "../runs/first", Path("../state"))
    assert config.runtime.out == str(tmp_path / "runs" / "first")
    assert config.runtime.ledgers == str(tmp_path / "state" / "ledgers")
    assert config.runtime.feature_cache == str(tmp_path / "cache")
    assert config.data.data_dir == str(tmp_path / "public")
    RunFolder(tmp_path / "runs" / "first").root.mkdir(parents=True)
    (tmp_path / "runs" / "first" / "config.toml").write_text(to_toml(config))
    assert settings_to_resume(Path("../runs/first")).runtime.out == config.runtime.out
    assert StateFolder(Path("../state")).root == tmp_path / "state"


def test_images_are_named_so_that_the_runs_own_process_finds_them(tmp_path, monkeypatch):
    from server.deployment.run_cli import _settings

    monkeypatch.chdir(tmp_path)
    (tmp_path / "public" / "test").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    given = ["data.dataset=folder", "data.data-dir=public"]
    assert _settings(None, given, "run", tmp_path).data.data_dir == str(tmp_path / "public")
    with pytest.raises(DataError, match="'privat' does not exist: name that of the test images"):
        _settings(None, ["data.dataset=folder", "data.data-dir=privat"], "run", tmp_path)
    with pytest.raises(DataError, match="'images' has no test/ inside: put test images in DIR/test/<class>/"):
        _settings(None, ["data.dataset=folder", "data.data-dir=images"], "run", tmp_path)
    assert _settings(None, [], "run", tmp_path).data.data_dir == ""


def test_a_run_with_real_clients_has_a_time_limit_and_ledgers_that_outlive_it_unless_told(tmp_path):
    from server.deployment.run_cli import _settings

    config = _settings(None, [], str(tmp_path / "run"), tmp_path / "state")
    assert config.federation.time_limit == 3600
    assert config.runtime.ledgers == str(tmp_path / "state" / "ledgers")
    told = _settings(None, ["federation.round-timeout-seconds=off"], str(tmp_path / "run"), tmp_path)
    assert told.federation.time_limit is None
    with pytest.raises(ConfigError, match="is given twice"):
        _settings(None, ["runtime.out=x"], str(tmp_path / "run"), tmp_path)
