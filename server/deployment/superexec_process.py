"""The process that becomes SuperExec, which starts ServerApps."""

from __future__ import annotations

import os
import sys

from common.flower_internals.superexec import run_superexec
from server.lifeline import end_with_parent


def main() -> None:
    """Run SuperExec with this process's arguments."""
    os.umask(0o077)
    end_with_parent()
    sys.argv[0] = "flower-superexec"
    run_superexec()


if __name__ == "__main__":
    main()
