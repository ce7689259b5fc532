"""Run the fedledger command as a person would, in this process (quick) or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from unittest.mock import patch

import fedledger

SCRIPT = Path(fedledger.__file__)


@dataclass(frozen=True)
class Outcome:
    """What a command left on the screen, and its exit status."""

    status: int
    out: str
    err: str


def run_command(*arguments: str) -> Outcome:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with patch.object(sys, "argv", ["fedledger", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            fedledger.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Outcome(status, out.getvalue(), err.getvalue())


def start_command(
    *arguments: str, environment: Mapping[str, str] | None = None, stdout: int | IO[str] = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start the command in a process of its own, whose output can be read line by line."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(environment or {}),
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
