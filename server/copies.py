"""What a run keeps of a ledger home that it does not own: copies, so that its folder can be audited alone."""

from __future__ import annotations

from common.run_folder import LedgerHome, RunFolder, write_atomically
from server.state import RunState


def keep_copies(folder: RunFolder, home: LedgerHome, state: RunState) -> None:
    """Copy every ledger as the server last saw it, and the server's log, into the run's folder.

    Raises:
        CheckpointError: when the run's folder cannot be written.
        OSError: when the server's log cannot be read.
    """
    for client in state.clients.values():
        lines = "".join(line + "\n" for line in client.ledger.lines)
        write_atomically(folder.ledger(client.partition_id), lines.encode("ascii"))
    for file in sorted(home.server.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            write_atomically(folder.server / file.name, file.read_bytes())
