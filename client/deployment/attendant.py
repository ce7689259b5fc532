"""Who has messages answered: a worker is begun when one comes, and let go when none has come for a while.

What a worker costs, several hundred MB of PyTorch and the site's records, is so paid only during runs. This
process, and the SuperNode, which wait in between, load neither.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from client.deployment.facts import Facts
from client.deployment.node import Access, Node
from client.deployment.orders import ENDED, FAILED, GAVE, OPENED, REPLACE, TOOK, Opening, Word
from client.deployment.worker_child import Report, WorkerChild
from common.errors import FedLedgerError

_log = logging.getLogger("fedledger.client")

_FIRST_SECONDS = 5.0
"""How long the worker that opened the site at the client's start waits for a run that goes on already."""
_LOOK_SECONDS = 1.0


class ClientNotOpened(FedLedgerError):
    """A client's own site cannot be opened: its records, ledger or policy are not as they should be."""

    code = "client-not-opened"


@dataclass(frozen=True, kw_only=True)
class Attendance:
    """How messages are attended to.

    Args:
        facts: the site's own.
        lock: a descriptor that holds the client's folder.
        warm_seconds: how long after its last message a worker stays.
        log_format: `text` or `json`.
        log_level: of `logging`.
    """

    facts: Facts
    lock: int
    warm_seconds: float
    log_format: str
    log_level: int


@dataclass(frozen=True)
class _Arrived:
    """A message came to the SuperNode, or is about to."""


@dataclass(frozen=True)
class _Stop:
    """Somebody asked the client to end."""


class Attendant:
    """Keeps a worker for as long as there are messages."""

    def __init__(self, attendance: Attendance) -> None:
        self._attendance = attendance
        self._inbox: SimpleQueue[_Arrived | _Stop | tuple[WorkerChild, Report]] = SimpleQueue()
        self._worker: WorkerChild | None = None
        self._given: Access | None = None
        self._waits = False
        self._until = 0.0
        self._stopping = False

    def message_came(self) -> None:
        """Note that a message is there, or about to be; any thread may say so."""
        self._inbox.put(_Arrived())

    def stop(self) -> None:
        """Have `run` return once the round that has begun is finished; a signal's handler may say so."""
        self._inbox.put(_Stop())

    def open(self) -> bool:
        """Begin the first worker and wait until it has opened the site; return False when stopped meanwhile.

        Raises:
            ClientNotOpened: says why it cannot be opened.
            ModuleNotFoundError, OSError: what the worker ran into.
        """
        self._begin(is_first=True)
        while True:
            match self._inbox.get():
                case _Stop():
                    return False
                case (_, {"event": event, **fields}) if event in (FAILED, ENDED):
                    raise _as_error(fields)
                case (worker, {"event": event}) if event == OPENED:
                    worker.is_open = True
                    self._until = time.monotonic() + _FIRST_SECONDS
                    return True

    def run(self, node: Node) -> None:
        """Have the messages of a SuperNode answered until `stop`."""
        while not (self._stopping and self._worker is None):
            self._attend(node)
            try:
                event = self._inbox.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            match event:
                case _Arrived():
                    self._waits = True
                case _Stop():
                    self._stopping = True
                case (worker, report):
                    self._hear(worker, report, node)

    def close(self) -> None:
        """End the worker, whatever it does."""
        if self._worker is not None:
            self._worker.kill()

    def _attend(self, node: Node) -> None:
        """Begin, tell or let go of the worker, as things stand."""
        if self._worker is None and self._waits and not self._stopping:
            self._begin(is_first=False)
        worker = self._worker
        if worker is not None and not worker.is_finishing:
            self._inform(worker, node.access)
            is_idle = worker.is_open and not worker.is_busy and time.monotonic() > self._until
            if self._stopping or is_idle:
                worker.order(Word.FINISH)

    def _inform(self, worker: WorkerChild, access: Access | None) -> None:
        if access is not None and access is not self._given:
            self._given = access
            worker.order(access)
        if self._waits:
            self._waits = False
            self._stay()
            worker.order(Word.LOOK)

    def _hear(self, worker: WorkerChild, report: Report, node: Node) -> None:
        """Take in a worker's report."""
        match report:
            case {"event": event} if event == OPENED:
                worker.is_open = True
                self._stay()
            case {"event": event} if event in (TOOK, GAVE):
                worker.is_busy = event == TOOK
                self._stay()
            case {"event": event, "address": str(address), "reason": str(reason)} if event == REPLACE:
                worker.is_busy = False
                self._replace(node, address, reason)
            case {"event": event, **fields} if event == FAILED:
                worker.is_busy = True  # with the message that it was begun for, and will not answer
                _log.error("the site cannot be opened any more: %s", _as_error(fields))
            case {"event": event, "status": status} if event == ENDED:
                self._bury(worker, status, node)

    def _bury(self, worker: WorkerChild, status: int, node: Node) -> None:
        """Note that a worker is gone; of what it had at hand, the server hears by a new session."""
        if status:
            _log.error("the worker ended early (status %s)", status)
        if (status or worker.is_busy) and self._given is not None:
            self._replace(node, self._given.address, "the worker ended early")
        if worker is self._worker:
            self._worker = self._given = None

    def _replace(self, node: Node, address: str, reason: str) -> None:
        access = node.access
        if access is not None and access.address == address:
            node.restart(access, reason)

    def _begin(self, *, is_first: bool) -> None:
        facts = self._attendance.facts
        opening = Opening(
            facts=facts,
            is_first=is_first,
            log_format=self._attendance.log_format,
            log_level=self._attendance.log_level,
        )
        self._given = None
        self._worker = WorkerChild(
            opening, self._attendance.lock, lambda *told: self._inbox.put((told[0], told[1]))
        )

    def _stay(self) -> None:
        self._until = time.monotonic() + self._attendance.warm_seconds


def _as_error(fields: Report) -> Exception:
    match fields:
        case {"text": str(text)}:
            return ClientNotOpened(text)
        case {"module": module}:
            return ModuleNotFoundError(f"no module named {module}", name=module)
        case {"file": file, "error": number}:
            return OSError(number, os.strerror(number or 0), file)
    status = fields.get("status")
    return ClientNotOpened(
        f"the program that holds the images ended early (status {status}): is there memory enough for them?"
    )
