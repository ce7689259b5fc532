"""A worker is begun when a message comes, let go when none has come for long, and replaced when it dies."""

from __future__ import annotations

import pickle
import textwrap
import threading
import time
from types import SimpleNamespace

import pytest

from client.deployment import attendant as module
from client.deployment import worker_child
from client.deployment.attendant import Attendance, Attendant, ClientNotOpened
from client.deployment.node import Access
from client.deployment.orders import Word
from tests.unit.client.deployment.test_own_site import facts, images  # noqa: F401 - fixtures

BEGINNING = """
import json, os, pickle, sys, time
open({starts!r}, "a").write("x")
opening = pickle.load(sys.stdin.buffer)
def say(event, **fields):
    print(json.dumps(dict(event=event, **fields)), flush=True)
def hear():
    return pickle.load(sys.stdin.buffer)
def word(order):
    return getattr(order, "value", "access")
"""
ONE_MESSAGE = """
say("opened")
while True:
    order = word(hear())
    if order == "finish":
        sys.exit(0)
    if order == "look":
        say("took")
        say("gave")
"""


class MadeUpNode:
    def __init__(self):
        self.access = Access(address="127.0.0.1:1", secret=b"s")
        self.restarted: list[str] = []

    def restart(self, access, reason):
        assert access is self.access
        self.restarted.append(reason)
        self.access = Access(address=f"127.0.0.1:{len(self.restarted) + 1}", secret=b"t")


@pytest.fixture
def begun(monkeypatch, tmp_path, facts):  # noqa: F811
    """Return how an attendant is made whose workers are scripts of a test, and how often one has started."""
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.5)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    starts = tmp_path / "starts"

    def make(body: str, warm_seconds: float = 0.0):
        script = BEGINNING.format(starts=str(starts)) + textwrap.dedent(body)
        monkeypatch.setattr(worker_child, "_START", script)
        with (tmp_path / "lock").open("w") as lock:
            attendance = Attendance(
                facts=facts(), lock=lock.fileno(), warm_seconds=warm_seconds, log_format="text", log_level=20
            )
            made = Attendant(attendance)
            made.open()
        made._attendance = SimpleNamespace(**{**vars(attendance), "lock": 2})
        return made

    return SimpleNamespace(make=make, count=lambda: len(starts.read_text()) if starts.exists() else 0)


@pytest.fixture
def running():
    """Return how an attendant is run beside the test; it is stopped afterwards."""
    held = []

    def run(attendant):
        node = MadeUpNode()
        thread = threading.Thread(target=attendant.run, args=(node,), daemon=True)
        thread.start()
        held.append((attendant, thread))
        return node

    yield run
    for attendant, thread in held:
        attendant.stop()
        thread.join(20)
        assert not thread.is_alive()
        attendant.close()


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_messages_the_worker_ends_and_a_message_begins_another(begun, running):
    attendant = begun.make(ONE_MESSAGE)
    running(attendant)
    wait_for(lambda: attendant._worker is None)
    assert begun.count() == 1
    attendant.message_came()
    wait_for(lambda: begun.count() == 2)
    wait_for(lambda: attendant._worker is None)


class OpensSlowly:
    """A worker that notes its orders, and has not opened its site yet."""

    is_open = is_busy = is_finishing = False

    def __init__(self):
        self.orders = []

    def order(self, order):
        self.orders.append(order)


def test_a_worker_that_opens_its_site_slowly_is_not_idle(begun):
    attendant, worker = begun.make(ONE_MESSAGE), OpensSlowly()
    attendant.close()
    attendant._worker = worker
    attendant._waits = True
    node = MadeUpNode()
    attendant._attend(node)
    time.sleep(0.01)  # its time, of no seconds here, is over
    attendant._attend(node)
    assert worker.orders == [node.access, Word.LOOK]
    attendant._hear(worker, {"event": "opened"}, node)
    time.sleep(0.01)
    attendant._attend(node)
    assert worker.orders == [node.access, Word.LOOK, Word.FINISH]


def test_a_worker_with_messages_stays_warm(begun, running):
    attendant = begun.make(ONE_MESSAGE, warm_seconds=60.0)
    attendant.message_came()
    running(attendant)
    attendant.message_came()
    time.sleep(0.3)
    attendant.message_came()
    time.sleep(0.3)
    assert begun.count() == 1
    assert attendant._worker is not None


def test_a_worker_that_dies_with_a_message_has_its_session_replaced(begun, running):
    body = """
        say("opened")
        while word(hear()) != "look":
            continue
        say("took")
        os.kill(os.getpid(), 9)
    """
    attendant = begun.make(body, warm_seconds=60.0)
    attendant.message_came()
    node = running(attendant)
    wait_for(lambda: node.restarted)
    assert node.restarted == ["the worker ended early"]
    wait_for(lambda: attendant._worker is None)
    attendant.message_came()
    wait_for(lambda: begun.count() == 2)


def test_a_worker_that_can_no_longer_open_its_site_has_its_session_replaced(begun, running, tmp_path):
    body = f"""
        if os.path.getsize({str(tmp_path / "starts")!r}) > 1:
            hear()
            say("failed", text="a library is gone")
            sys.exit(0)
        say("opened")
        while word(hear()) != "finish":
            continue
    """
    attendant = begun.make(body)
    node = running(attendant)
    wait_for(lambda: attendant._worker is None)
    attendant.message_came()
    wait_for(lambda: node.restarted == ["the worker ended early"])


def test_a_session_that_is_of_no_use_is_replaced(begun, running):
    body = """
        say("opened")
        while True:
            order = hear()
            if word(order) == "access":
                say("replace", address=order.address, reason="it is deaf")
                break
        while word(hear()) != "finish":
            continue
    """
    attendant = begun.make(body)
    attendant.message_came()
    node = running(attendant)
    wait_for(lambda: node.restarted == ["it is deaf"])


def test_it_waits_for_a_round_that_has_begun(begun, running, tmp_path):
    body = f"""
        say("opened")
        while word(hear()) != "look":
            continue
        say("took")
        while word(hear()) != "finish":
            continue
        time.sleep(0.5)
        open({str(tmp_path / "done")!r}, "w").write("done")
        say("gave")
    """
    attendant = begun.make(body, warm_seconds=60.0)
    attendant.message_came()
    running(attendant)
    wait_for(lambda: attendant._worker is not None and attendant._worker.is_busy)
    attendant.stop()
    wait_for(lambda: attendant._worker is None)
    assert (tmp_path / "done").read_text() == "done"


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("say('failed', text='the ledger is torn')", ClientNotOpened, "the ledger is torn"),
        ("say('failed', module='torch')", ModuleNotFoundError, "torch"),
        ("say('failed', file='/data', error=13)", OSError, "Permission denied"),
        ("os.kill(os.getpid(), 9)", ClientNotOpened, "is there memory enough"),
    ],
)
def test_a_client_that_cannot_be_opened_says_why(begun, body, error, words):
    with pytest.raises(error, match=words):
        begun.make(body)


def test_no_secret_is_among_a_workers_arguments(begun, running):
    attendant = begun.make(ONE_MESSAGE, warm_seconds=60.0)
    assert b"s" * 32 not in pickle.dumps(attendant._worker._process.args)
    assert len(attendant._worker._process.args) == 5
    running(attendant)
