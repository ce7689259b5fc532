"""The command: what it loads before it knows what is asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fedledger
from tests.command_line import run_command

HEAVY = ("dp_accounting", "flwr", "opacus", "scipy", "torch")


def loaded_by(code: str) -> list[str]:
    """Return which heavy libraries a piece of code loads in an interpreter of its own."""
    shown = f"{code}; import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_command_itself_loads_nothing_heavy():
    assert loaded_by("import fedledger") == []


def test_a_client_that_waits_loads_nothing_heavy():
    assert loaded_by("import fedledger; import client.deployment.serving") == []


def test_names_of_audit_and_planning_are_there_when_they_are_used():
    assert "dp_accounting" in loaded_by("from common.audit import audit")
    assert "dp_accounting" in loaded_by("from common.planning import make_plan")


@pytest.mark.parametrize("verb", [("pki", "init"), ("audit",), ("sweep",)])
def test_help_marks_what_is_required_or_limited_without_a_backslash(verb):
    shown = run_command(*verb, "--help").out
    assert "\\" not in shown
    assert "[required]" in shown or verb == ("sweep",)


def test_what_an_auditors_installation_lacks_is_said_with_the_way_to_it():
    line = fedledger._line_of(ModuleNotFoundError("no module named torch", name="torch"))
    assert line == "this needs torch, which is not installed: in FedLedger's folder, pip install '.[train]'"
    assert fedledger._line_of(ModuleNotFoundError("no module named x", name="x")) != line
