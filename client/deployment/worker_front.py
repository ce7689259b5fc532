"""A worker's end of the pipe to its client: orders come in, reports go out."""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
from typing import IO

from client.deployment.node import Access
from client.deployment.orders import FAILED, GAVE, OPENED, REPLACE, TOOK, Opening, Word
from common.errors import FedLedgerError

_EAGER_SECONDS, _EAGER_PAUSE, _PATIENT_PAUSE = 5.0, 0.1, 2.0
"""For so long after word of a message it is looked for again and again; else only now and then."""


class Front:
    """The client, as its worker sees it.

    Args:
        orders: what the client writes.
        reports: what the client reads.
    """

    def __init__(self, orders: IO[bytes], reports: IO[str]) -> None:
        self._orders = orders
        self._reports = reports
        self._changed = threading.Condition()
        self._access: Access | None = None
        self._eager_until = 0.0
        self.is_finishing = False

    @property
    def access(self) -> Access | None:
        """How to speak to the SuperNode that runs now; None until that is known."""
        return self._access

    def opening(self) -> Opening:
        """Read the first order, then go on listening; when the client is gone, this process ends at once."""
        opening = pickle.load(self._orders)  # noqa: S301 - written by the process that started this one
        if not isinstance(opening, Opening):
            raise TypeError("the first order opens a site")
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        return opening

    def wait(self) -> None:
        """Wait until it is worth looking for a message."""
        with self._changed:
            eager = time.monotonic() < self._eager_until
            self._changed.wait(_EAGER_PAUSE if eager else _PATIENT_PAUSE)

    def replace(self, access: Access, reason: str) -> None:
        """Ask for another SuperNode in the place of the one behind `access`."""
        with self._changed:
            if self._access is access:
                self._access = None
        self._report(REPLACE, address=access.address, reason=reason)

    def took(self) -> None:
        """Say that a message is at hand; a SuperNode asks for no other before it has the answer."""
        self._eager_until = 0.0
        self._report(TOOK)

    def gave(self) -> None:
        """Say that it is answered."""
        self._report(GAVE)

    def opened(self) -> None:
        """Say that the site can be opened."""
        self._report(OPENED)

    def failed(self, error: Exception) -> None:
        """Say why the site cannot be opened; only text that FedLedger wrote itself is passed on."""
        if isinstance(error, FedLedgerError):
            self._report(FAILED, text=str(error))
        elif isinstance(error, ModuleNotFoundError):
            self._report(FAILED, module=error.name)
        elif isinstance(error, OSError):
            self._report(FAILED, file=str(error.filename or ""), error=error.errno)
        else:
            self._report(FAILED, text=f"this client cannot be opened ({type(error).__name__}): see its log")

    def _report(self, event: str, **fields: object) -> None:
        self._reports.write(json.dumps({"event": event, **fields}) + "\n")
        self._reports.flush()

    def _listen(self) -> None:
        while not self.is_finishing:
            try:
                order = pickle.load(self._orders)  # noqa: S301 - as above
            except (EOFError, OSError, pickle.UnpicklingError):
                os._exit(1)  # whatever is charged is in the ledger; nobody would hear the answer
            with self._changed:
                if isinstance(order, Access):
                    self._access = order
                elif order is Word.FINISH:
                    self.is_finishing = True
                self._eager_until = time.monotonic() + _EAGER_SECONDS
                self._changed.notify_all()
