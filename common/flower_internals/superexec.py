"""SuperExec in a process of ours: tasks learn their tokens from a file without a name, not from an argument.

Arguments of a process can be read by every account of the machine, and whoever has a task's token may speak
in its place.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

from common.flower_internals.superlink import command


def run_superexec() -> None:
    """Run `flower-superexec` in this process, with the arguments in `sys.argv`."""
    from flwr.supercore.superexec.executor import subprocess_executor

    subprocess_executor.subprocess = HiddenTokens  # type: ignore[attr-defined, assignment]
    command("flower-superexec")()


class HiddenTokens:
    """What Flower's executor uses of the module `subprocess`, less the token among the arguments."""

    DEVNULL = subprocess.DEVNULL

    @staticmethod
    def Popen(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:  # noqa: N802 - as its model
        """Start a task as `subprocess.Popen` would.

        Raises:
            ValueError: when the arguments hold no token where it is expected; nothing is started then.
        """
        place = list(arguments).index("--token")
        with tempfile.TemporaryFile() as file:
            file.write(arguments[place + 1].encode("ascii"))
            file.flush()
            descriptor = file.fileno()
            hidden = ["--token-file", f"/dev/fd/{descriptor}"]
            return subprocess.Popen(  # noqa: S603 - Flower's own arguments, no shell
                [*arguments[:place], *hidden, *arguments[place + 2 :]], pass_fds=(descriptor,), **options
            )
