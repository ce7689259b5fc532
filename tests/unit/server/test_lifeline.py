"""The processes of a run, and the one that starts them, do not outlive what started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.real_clients import runs, wait_until

CHILD = """
import sys, threading
sys.path.insert(0, {root!r})
from server.lifeline import end_with_parent
end_with_parent()
print("watching", flush=True)
threading.Event().wait()
"""
PARENT = """
import subprocess, sys
begun = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd={root!r})
child = subprocess.Popen({command!r}, **begun)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
ROOT = str(Path(__file__).parents[3])


def orphan(*command: str) -> int:
    """Start a process by another, wait for its first line, and kill the other."""
    program = PARENT.format(command=[sys.executable, *command], root=ROOT)
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    number = int(parent.stdout.readline())
    assert runs(number)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    return number


def test_a_process_ends_with_its_parent_however_that_ends() -> None:
    number = orphan("-c", CHILD.format(root=ROOT))
    wait_until(lambda: not runs(number), 60, lambda: f"{number} outlived its parent")


def test_what_starts_runs_ends_with_its_superlink_though_flower_does_not_see_it() -> None:
    # Flower watches by one signal, which can be lost while SuperExec looks for its SuperLink.
    never_gone = str(os.getpid())
    superlink = ["--insecure", "--runtime-api-address", "127.0.0.1:1"]
    number = orphan("-m", "server.deployment.superexec_process", *superlink, "--parent-pid", never_gone)
    wait_until(lambda: not runs(number), 60, lambda: f"{number} outlived its SuperLink")
