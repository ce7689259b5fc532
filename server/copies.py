"""What a run keeps of a ledger home that it does not own: copies, so that its folder can be audited alone."""

from __future__ import annotations

from collections.abc import Iterable

from common.run_folder import LedgerHome, RunFolder, append_line, write_atomically
from server.state import ClientRecord, RunState


class LedgerCopies:
    """Copies of the ledgers of clients that are elsewhere, in a run's folder, as the run goes on.

    A client whose update counted may be away when the run is continued, and when it ends. Its charges must be
    in the folder by then, or whoever audits it misses them: each is written before the round that it is for.

    Args:
        folder: the run's; what a crash left of a line there is cut off.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._written: dict[int, int] = {}
        for path in folder.ledger(0).parent.glob("*.jsonl"):
            data = path.read_bytes()
            if not data.endswith(b"\n"):
                write_atomically(path, data[: data.rfind(b"\n") + 1])

    def keep(self, clients: Iterable[ClientRecord]) -> None:
        """Write, durably, what is new in the clients' ledgers.

        Raises:
            CheckpointError: when the folder cannot be written.
        """
        for client in clients:
            lines = client.ledger.lines
            written = self._written.get(client.partition_id)
            path = self._folder.ledger(client.partition_id)
            if written is None:
                write_atomically(path, _text(lines))
            elif written < len(lines):
                append_line(path, "\n".join(lines[written:]))
            self._written[client.partition_id] = len(lines)


def keep_copies(folder: RunFolder, home: LedgerHome, state: RunState) -> None:
    """Copy every ledger as the server last saw it, and the server's log, into the run's folder.

    Raises:
        CheckpointError: when the run's folder cannot be written.
        OSError: when the server's log cannot be read.
    """
    for client in state.clients.values():
        write_atomically(folder.ledger(client.partition_id), _text(client.ledger.lines))
    for file in sorted(home.server.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            write_atomically(folder.server / file.name, file.read_bytes())


def _text(lines: Iterable[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode("ascii")
