"""What goes wrong between the server's own processes, and at its command line."""

from __future__ import annotations

from common.errors import FedLedgerError


class ServerFailed(FedLedgerError):
    """The server's processes do not run, do not answer, or refuse what was asked of them."""

    code = "server"
