"""The one line that a person reads about an error that they can mend."""

from __future__ import annotations

import errno

from common.errors import FedLedgerError


def line_of(error: BaseException) -> str:
    """Return the line for what a person can mend, and nothing for a defect."""
    match error:
        case FedLedgerError():
            return str(error)
        case OSError():
            where = error.filename or "the output"
            way_out = "free space" if error.errno == errno.ENOSPC else "permit access, or name another place"
            return f"{where} cannot be used ({error.strerror}): {way_out}"
        case MemoryError():
            return "memory is used up: choose fewer --workers or smaller images"
    return ""
