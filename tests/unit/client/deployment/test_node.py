"""The SuperNode as a child: how it is called, started again, and ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from client.deployment import node as module
from client.deployment.node import Access, Node, NodeOptions, arguments_of

ACCESS = Access(address="127.0.0.1:4321", secret=b"s" * 32)


def options(home: Path, **changes) -> NodeOptions:
    values = {"server": "a.org:8443", "authority": None, "key": None, "number": 3, "home": home}
    return NodeOptions(**{**values, **changes})


def test_with_tls_it_proves_who_it_is_and_never_runs_an_app_itself(tmp_path):
    secured = options(tmp_path, authority=Path("/pki/ca.crt"), key=Path("/pki/site-a"))
    arguments = arguments_of(secured, ACCESS, tmp_path / "secret")
    pairs = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert pairs == {
        "--superlink": "a.org:8443",
        "--root-certificates": "/pki/ca.crt",
        "--auth-supernode-private-key": "/pki/site-a",
        "--isolation": "process",
        "--superexec-auth-secret-file": str(tmp_path / "secret"),
        "--host": "127.0.0.1",
        "--port": "4321",
        "--node-config": "partition-id=3",
    }
    assert "--insecure" in arguments_of(options(tmp_path), ACCESS, tmp_path / "secret")


heard: list[Access | None] = []


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    """Let a script of this test stand in for SuperNode; it appends to `starts` whenever it begins."""
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.05)

    heard.clear()

    def start(body: str) -> tuple[Node, Path]:
        script, starts = tmp_path / "stand_in.py", tmp_path / "starts"
        beginning = f"import os, sys, time\nopen({str(starts)!r}, 'a').write('x')\n"
        script.write_text(beginning + textwrap.dedent(body))
        monkeypatch.setattr(module.supernode_process, "__file__", str(script))
        node = Node(options(tmp_path / "node"), lambda: heard.append(node.access))
        node.start()
        return node, starts

    return start


def count(starts: Path) -> int:
    return len(starts.read_text()) if starts.exists() else 0


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("ending", ["sys.exit(0)", "sys.exit(1)", "os.kill(os.getpid(), 9)", "raise OSError"])
def test_it_is_started_again_however_it_ended(scripted, ending):
    node, starts = scripted(ending)
    wait_for(lambda: count(starts) >= 2)
    node.stop()
    assert node.access is None


def test_each_one_has_an_address_and_a_secret_of_its_own(scripted, tmp_path):
    node, starts = scripted("time.sleep(60)")
    wait_for(lambda: count(starts) == 1)
    first = node.access
    assert (tmp_path / "node" / "worker.secret").read_bytes() == first.secret
    node.restart(Access(address="127.0.0.1:1", secret=b""), "not that one")
    assert node.access is first
    node.restart(first, "a test")
    wait_for(lambda: count(starts) == 2 and node.access is not None)
    assert node.access.secret != first.secret
    node.stop()


@pytest.mark.parametrize("lame", [True, False])
def test_one_that_is_of_no_use_is_asked_once_to_end_and_may_give_its_session_back(scripted, tmp_path, lame):
    farewell = tmp_path / "farewell"
    body = f"""
        import signal
        def end(*_):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Flower does
            for _ in range(5):
                print("WARNING : ending", flush=True)
                time.sleep(0.1)
            open({str(farewell)!r}, "a").write("y")
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        if {lame}:
            print("Exception in thread Thread-2", flush=True)
        else:
            print("Receiving: a message", flush=True)
        time.sleep(60)
    """
    node, starts = scripted(body)
    while count(starts) < 3:
        for access in [access for access in heard if access is not None]:
            node.restart(access, "a test")
            node.restart(access, "a test")
        time.sleep(0.02)
    node.stop()
    assert len(farewell.read_text()) >= 2


def test_stopping_ends_it_at_once_and_for_good(scripted):
    node, starts = scripted("time.sleep(60)")
    wait_for(lambda: count(starts) == 1)
    before = time.monotonic()
    node.stop()
    assert time.monotonic() - before < 10
    assert node.access is None
    assert count(starts) == 1


def test_one_that_does_not_listen_to_the_end_is_killed(scripted, monkeypatch):
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.3)
    body = """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.close(1); os.close(2)
        time.sleep(60)
    """
    node, starts = scripted(body)
    wait_for(lambda: count(starts) >= 2)
    node.stop()


def test_one_that_lives_on_lame_is_replaced(scripted):
    node, starts = scripted("print('Exception in thread Thread-1', flush=True); time.sleep(60)")
    wait_for(lambda: count(starts) >= 2)
    node.stop()


def test_it_passes_on_that_a_message_came(scripted):
    node, _ = scripted("print('INFO :      Receiving: train message (ID: 5)', flush=True); time.sleep(60)")
    wait_for(lambda: heard)
    assert heard == [node.access]
    node.stop()


def test_the_process_ends_when_its_loop_does_though_a_thread_lives_on(tmp_path):
    ended = run_as_supernode(tmp_path, "threading.Thread(target=time.sleep, args=(60,)).start()")
    assert ended.returncode == 75
    failed = run_as_supernode(tmp_path, "threading.Thread(target=time.sleep, args=(60,)).start(); 1 / 0")
    assert failed.returncode == 75
    assert "ZeroDivisionError" in failed.stderr
    assert run_as_supernode(tmp_path, "sys.exit(3)").returncode == 3


def test_the_process_ends_when_its_standard_input_does(tmp_path):
    ended = run_as_supernode(tmp_path, "time.sleep(60)", stdin=subprocess.DEVNULL)
    assert ended.returncode == -signal.SIGTERM


def run_as_supernode(
    folder: Path, body: str, stdin: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run the process with a stand-in for the command that flwr installs."""
    package = folder / "stand_in-1.dist-info"
    package.mkdir(exist_ok=True)
    (package / "METADATA").write_text("Name: stand-in\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[console_scripts]\nflower-supernode = stand_in:main\n")
    (folder / "stand_in.py").write_text(f"import sys, threading, time\ndef main():\n    {body}\n")
    process = subprocess.Popen(
        [
            sys.executable,
            "-S",
            "-P",
            module.supernode_process.__file__,
        ],  # -S hides the flwr that is installed
        env={"PYTHONPATH": str(folder)},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.stdout.read(), process.stderr.read()  # standard input stays open until it ends
        return subprocess.CompletedProcess(process.args, process.wait(10), out, err)
    finally:
        process.kill()
