"""The process that becomes SuperExec, which starts ServerApps."""

from __future__ import annotations

import os
import sys

from common.flower_internals.superexec import run_superexec


def main() -> None:
    """Run SuperExec with this process's arguments."""
    os.umask(0o077)
    sys.argv[0] = "flower-superexec"
    run_superexec()


if __name__ == "__main__":
    main()
