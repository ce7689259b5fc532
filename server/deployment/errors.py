"""What goes wrong between the server's own processes, and at its command line."""

from __future__ import annotations

from common.errors import FedLedgerError


class ServerFailed(FedLedgerError):
    """The server's processes do not run, do not answer, or refuse what was asked of them."""

    code = "server"


UNFINISHED = 75
"""The exit status of a run that ended before its last round and can go on, as BSD's sysexits call it."""


class RunUnfinished(ServerFailed):
    """A run ended without a word, or its server is gone, after what it can go on from was written."""

    exit_status = UNFINISHED


class RunInterrupted(ServerFailed):
    """Whoever watched a run had it stopped."""

    exit_status = 130
