"""A run folder, and a model small enough to be told by hand."""

from __future__ import annotations

import pytest

from common.run_folder import RunFolder
from server import rounds
from tests.small_federation import MODEL


@pytest.fixture
def small_model(monkeypatch):
    """Have runs begin with a model of a few values."""
    monkeypatch.setattr(rounds, "initial_arrays", lambda *_, **__: MODEL)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """Return where a run is to be."""
    return RunFolder(tmp_path / "run")
