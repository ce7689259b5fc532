"""Processes that end when the one that started them is gone."""

from __future__ import annotations

import logging
import os
import threading
import time

_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 3.0
ORPHANED = 75
"""Exit status of a process that ended because its parent had."""


def end_with_parent() -> None:
    """Have this process end soon after its parent, whatever it is at then.

    Without its SuperLink a run can go no further, yet Flower tries to reach it again without end, and the
    run's folder stays locked against resuming. The end is that of any crash: a run goes on from its
    checkpoint. SuperExec, which starts runs, tries without end as well, and may miss Flower's one signal.
    """
    threading.Thread(target=_watch, args=(os.getppid(),), name="lifeline", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    logging.getLogger("flwr").error("what started this process is gone: it ends, and a run is to be resumed")
    time.sleep(_GRACE_SECONDS)
    os._exit(ORPHANED)
