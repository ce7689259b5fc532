"""SuperExec starts tasks without their tokens in the process list (pinned to flwr 1.41.x)."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest

from common.flower_internals.superexec import HiddenTokens

TOKEN = "ab" * 16
SCRIPT = """
import argparse, sys
from flwr.common.args import add_args_flwr_app_common, try_obtain_flwr_app_token
parser = argparse.ArgumentParser()
add_args_flwr_app_common(parser)
print(try_obtain_flwr_app_token(parser.parse_args()), flush=True)
sys.stdin.read()
"""


def test_flower_starts_tasks_where_and_how_it_did():
    from flwr.supercore.superexec.executor import subprocess_executor

    assert inspect.ismodule(subprocess_executor.subprocess)
    used = set(re.findall(r"subprocess\.(\w+)", inspect.getsource(subprocess_executor)))
    assert used == {"Popen", "DEVNULL"}
    launch = inspect.getsource(subprocess_executor.SubprocessExecutor.launch)
    assert '"--token",\n            spec.token,' in launch
    assert launch.count("subprocess.Popen(") == 2


def test_a_task_reads_its_token_and_the_process_list_does_not_show_it(tmp_path):
    out = tmp_path / "out"
    with out.open("wb") as output:
        arguments = [sys.executable, "-c", SCRIPT, "--token", TOKEN, "--insecure"]
        task = HiddenTokens.Popen(arguments, stdin=-1, stdout=output)
    try:
        while not (shown := Path(f"/proc/{task.pid}/cmdline").read_bytes()):
            assert task.poll() is None
        task.communicate(b"", timeout=60)
        assert out.read_text().strip() == TOKEN
        assert TOKEN.encode() not in shown
        assert b"--token-file" in shown
    finally:
        task.kill()
        task.wait()


def test_a_task_without_a_token_is_not_started():
    with pytest.raises(ValueError, match="--token"):
        HiddenTokens.Popen([sys.executable, "-c", "pass"])
