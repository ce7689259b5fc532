from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.app import app as client_app
from common.errors import ConfigError, RoundFailed
from simulations import processes, resume, simulate
from simulations.channel import Channel
from simulations.grid import InProcessGrid
from simulations.processes import CopiedApp, can_copy

pytestmark = pytest.mark.skipif(not can_copy("cpu"), reason="copies of a process are for Linux")

NODES = range(2, 8)
ROOT = Path(__file__).parents[3]


def context(node_id: int) -> Context:
    return Context(run_id=1, node_id=node_id, node_config={}, state=RecordDict(), run_config={})


def ask_all(train, *, copies: int, times: int = 1) -> list[Message]:
    app = ClientApp()
    app.train()(train)
    replies: list[Message] = []
    with (
        CopiedApp(app, copies=copies) as copied,
        InProcessGrid(copied, node_ids=NODES, make_context=context, workers=copies) as grid,
    ):
        for _ in range(times):
            messages = [grid.create_message(RecordDict(), "train", node, "1") for node in NODES]
            replies += grid.send_and_receive(messages, timeout=60)
    return replies


def record(message: Message, **values: int | str) -> Message:
    return Message(RecordDict({"found": ConfigRecord(values)}), reply_to=message)


def test_clients_run_on_as_many_other_processes_at_a_time():
    def train(message: Message, ctx: Context) -> Message:
        time.sleep(0.1)
        return record(message, process=os.getpid(), node=ctx.node_id)

    replies = ask_all(train, copies=2)
    found = {reply.metadata.src_node_id: reply.content["found"] for reply in replies}
    assert set(found) == set(NODES)
    assert all(found[node]["node"] == node for node in NODES)
    assert len({each["process"] for each in found.values()}) == 2
    assert os.getpid() not in {each["process"] for each in found.values()}


def test_a_nodes_state_goes_with_it_from_one_process_to_the_other():
    def count(message: Message, ctx: Context) -> Message:
        seen = int(ctx.state["n"]["n"]) if "n" in ctx.state else 0
        ctx.state["n"] = ConfigRecord({"n": seen + 1})
        return record(message, n=seen + 1)

    replies = ask_all(count, copies=3, times=4)
    assert [reply.content["found"]["n"] for reply in replies] == [n for n in range(1, 5) for _ in NODES]


def test_a_client_goes_back_to_the_process_that_has_its_files_open():
    app = ClientApp()

    @app.train()
    def train(message: Message, ctx: Context) -> Message:
        return record(message, process=os.getpid())

    places: dict[int, set[int]] = {}
    with (
        CopiedApp(app, copies=3) as copied,
        InProcessGrid(copied, node_ids=NODES, make_context=context, workers=1) as grid,
    ):
        for node in [2, 3, 4, 3, 2, 4, 4, 2, 3]:
            (reply,) = grid.send_and_receive([grid.create_message(RecordDict(), "train", node, "1")])
            places.setdefault(node, set()).add(reply.content["found"]["process"])
    assert all(len(those) == 1 for those in places.values())


def test_an_exception_becomes_an_error_reply_without_its_text():
    def fail(message: Message, ctx: Context) -> Message:
        raise ValueError("record 17 shows patient Smith")

    for reply in ask_all(fail, copies=2):
        assert reply.has_error()
        assert reply.error.reason == "ValueError"


def test_what_a_client_logs_is_heard_here(caplog):
    def train(message: Message, ctx: Context) -> Message:
        try:
            raise KeyError("gone")
        except KeyError:
            logging.getLogger("fedledger.client").exception("client %d failed", ctx.node_id)
        return record(message)

    ask_all(train, copies=2)
    assert sorted(caplog.messages) == [f"client {node} failed" for node in NODES]
    assert "KeyError: 'gone'" in caplog.text


def test_ctrl_c_is_left_to_the_process_that_asks():
    def train(message: Message, ctx: Context) -> Message:
        os.kill(os.getpid(), signal.SIGINT)
        return record(message)

    assert not any(reply.has_error() for reply in ask_all(train, copies=2))


def test_copies_end_when_nobody_needs_them():
    def train(message: Message, ctx: Context) -> Message:
        return record(message, process=os.getpid())

    for process in {reply.content["found"]["process"] for reply in ask_all(train, copies=2)}:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_copy_that_dies_ends_the_round_with_a_way_out():
    def train(message: Message, ctx: Context) -> Message:
        if ctx.node_id == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return record(message)

    with pytest.raises(RoundFailed, match=r"died \(exit status -9\).*--resume.*fewer --workers"):
        ask_all(train, copies=2)


def test_a_copy_whose_answer_was_cut_off_answers_nobody_else(monkeypatch):
    copies, receive, heard = [], Channel.receive, []

    def cut_off(channel):
        heard.append(channel)
        if os.getpid() == parent and len(heard) == 3:
            monkeypatch.setattr(channel._pipe, "recv", None, raising=False)
        return receive(channel)

    def train(message: Message, ctx: Context) -> Message:
        return record(message, node=ctx.node_id)

    parent = os.getpid()
    monkeypatch.setattr(Channel, "receive", cut_off)
    monkeypatch.setattr(processes._Copy, "let_go", lambda copy: copies.append(copy) or copy._channel.close())
    monkeypatch.setattr(processes, "_SECONDS_TO_END", 0.5)
    with pytest.raises(RoundFailed, match=r"died \(exit status -9\)"):
        ask_all(train, copies=1)
    assert [copy._process.is_alive() for copy in copies] == [False]


def test_a_run_whose_copy_dies_can_be_resumed(tiny_settings, monkeypatch):
    changes = {"runtime.workers": 2, "privacy.reproducible-noise": True}
    whole = simulate(tiny_settings("whole", changes))

    def app_that_dies(message: Message, ctx: Context) -> Message:
        if ctx.node_id == 3 and message.metadata.group_id == "2":
            os.kill(os.getpid(), signal.SIGKILL)
        return client_app(message, ctx)

    monkeypatch.setattr("simulations.harness.client_app", app_that_dies)
    config = tiny_settings("died", changes)
    with pytest.raises(RoundFailed, match="died"):
        simulate(config)
    monkeypatch.undo()
    resumed = resume(Path(config.runtime.out))
    assert resumed.report.verified
    for name in ("model.safetensors", "evaluation.json"):
        assert (resumed.folder.root / name).read_bytes() == (whole.folder.root / name).read_bytes()


def test_copies_die_with_the_process_that_asks(tmp_path):
    """SIGKILL leaves it no time to tell them."""
    script = """
        import os, sys, time
        from flwr.app import Context, RecordDict
        from simulations.grid import InProcessGrid
        from simulations.processes import CopiedApp

        def app(message, context):
            with open(os.path.join(sys.argv[1], str(os.getpid())), "w"):
                time.sleep(600)

        def context(node):
            return Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})

        grid = InProcessGrid(CopiedApp(app, copies=2), node_ids=[2, 3], make_context=context, workers=2)
        grid.push_messages([grid.create_message(RecordDict(), "train", node, "1") for node in (2, 3)])
        time.sleep(600)
        """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT) as asking:
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        asking.kill()
    copies = [int(path.name) for path in tmp_path.iterdir()]
    until(lambda: not any(map(alive, copies)))


def alive(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def copies_made(monkeypatch) -> list[int]:
    made = []

    class Watched(CopiedApp):
        def __init__(self, app, *, copies: int) -> None:
            made.append(copies)
            super().__init__(app, copies=copies)

    monkeypatch.setattr("simulations.harness.CopiedApp", Watched)
    return made


@pytest.mark.parametrize(
    ("changes", "copies"),
    [
        ({"runtime.workers": 2}, [2]),
        ({"runtime.workers": 8}, [2]),
        ({"runtime.workers": 1}, []),
        ({"runtime.workers": 1, "runtime.worker-kind": "process"}, [1]),
        ({"runtime.workers": 2, "runtime.worker-kind": "thread"}, []),
        ({"runtime.workers": 2, "model.name": "scatter-linear"}, []),
        ({"runtime.workers": 2, "model.name": "scatter-linear", "runtime.worker-kind": "process"}, [2]),
    ],
)
def test_networks_train_on_processes_and_models_on_features_on_threads(
    tiny_settings, monkeypatch, changes, copies
):
    made = copies_made(monkeypatch)
    changes |= {"federation.num-server-rounds": 1}
    assert simulate(tiny_settings(changes=changes)).report.verified
    assert made == copies


def test_where_processes_cannot_be_copied_threads_train(tiny_settings, monkeypatch):
    made = copies_made(monkeypatch)
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    simulate(tiny_settings("threads", {"runtime.workers": 2}))
    assert made == []
    with pytest.raises(ConfigError, match=r'runtime.worker-kind = "process" is for Linux'):
        simulate(tiny_settings("asked", {"runtime.workers": 2, "runtime.worker-kind": "process"}))


def test_an_accelerator_is_no_place_for_copies():
    assert can_copy("cpu")
    assert not can_copy("cuda")
    assert not can_copy("mps")


def test_messages_wait_for_a_copy_that_is_free():
    def train(message: Message, ctx: Context) -> Message:
        time.sleep(0.02)
        return record(message, process=os.getpid())

    app = ClientApp()
    app.train()(train)
    with (
        CopiedApp(app, copies=1) as copied,
        InProcessGrid(copied, node_ids=NODES, make_context=context, workers=3) as grid,
    ):
        messages = [grid.create_message(RecordDict(), "train", node, "1") for node in NODES]
        replies = list(grid.send_and_receive(messages, timeout=60))
    assert len({reply.content["found"]["process"] for reply in replies}) == 1
    assert len(replies) == len(NODES)
