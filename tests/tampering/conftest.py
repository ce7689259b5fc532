"""A true run of two clients with 22 entries each, and copies of it to tamper with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.audit import assemble
from common.run_folder import RunFolder
from tests.run_folders import RunPlan, write_run

PLAN = RunPlan(rounds=7)

Copy = Callable[[], RunFolder]


@pytest.fixture(autouse=True)
def same_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the program's digest as it is, even while somebody works on its source."""
    monkeypatch.setattr(assemble, "auditing_code_digest", lambda: "f" * 64)


@pytest.fixture(scope="session")
def true_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run that no test may change."""
    return write_run(tmp_path_factory.mktemp("true") / "run", PLAN)


@pytest.fixture
def copy(true_run: RunFolder, tmp_path: Path) -> Copy:
    """Return a function that makes a fresh copy of the true run."""
    made: list[RunFolder] = []

    def make() -> RunFolder:
        root = tmp_path / f"copy-{len(made)}"
        shutil.copytree(true_run.root, root)
        made.append(RunFolder(root))
        return made[-1]

    return make
