"""An auditor needs none of the libraries that train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.run_folder import RunFolder
from tests.run_folders import RunPlan, write_run

BLOCKED = ("flwr", "opacus", "safetensors", "torch", "torchvision")

_BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name.partition(".")[0])

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("plain") / "run", RunPlan())


def _without_training(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, in which the libraries for training cannot be imported."""
    source = _BLOCK.format(blocked=set(BLOCKED)) + code
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _without_training("import runpy\nrunpy.run_module('fedledger', run_name='__main__')", *arguments)


@pytest.mark.parametrize("library", BLOCKED)
def test_the_blocker_blocks(library: str) -> None:
    done = _without_training(f"import {library}")
    assert f"{library} is blocked" in done.stderr


def test_a_run_is_audited_and_its_report_written(folder: RunFolder) -> None:
    done = _command("audit", str(folder.root))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Verified: no client spent more than epsilon")
    assert json.loads((folder.root / "report.json").read_text(encoding="utf-8"))["verified"] is True
    assert "Verified" in (folder.root / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("place", ["ledgers/client-0.jsonl", "ledgers", "server"])
def test_ledgers_and_logs_are_audited(folder: RunFolder, place: str) -> None:
    done = _command("audit", str(folder.root / place))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Verified")


def test_a_ledger_is_shown(folder: RunFolder) -> None:
    done = _command("ledger", "show", str(folder.ledger(0)))
    assert (done.returncode, done.stderr) == (0, "")
    assert "GENESIS" in done.stdout
    assert "RECEIPT" in done.stdout


def test_tampering_is_found_all_the_same(folder: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "client-0.jsonl"
    copy.write_text(
        folder.ledger(0).read_text(encoding="ascii").replace('"steps":2', '"steps":1'), encoding="ascii"
    )
    done = _command("audit", str(copy))
    assert (done.returncode, done.stderr) == (1, "")
    assert "NOT verified" in done.stdout
