"""A run's process does not outlive the one that started it."""

from __future__ import annotations

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
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def test_a_process_ends_with_its_parent_however_that_ends():
    child = CHILD.format(root=str(Path(__file__).parents[3]))
    command = [sys.executable, "-c", PARENT.format(child=child)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    number = int(parent.stdout.readline())
    assert runs(number)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not runs(number), 60, lambda: f"{number} outlived its parent")
