"""A long-running process's own log: one line an event, for people or (JSON) for machines.

An exception appears by its type and the places in the code that it passed, never by its text, which may hold
anything at all: values of a record as well.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any

ROOT = logging.getLogger("fedledger")

_CHATTY = ("flwr", "httpx", "httpcore", "asyncio", "uvicorn", "uvicorn.error", "uvicorn.access")


def begin_logging(style: str, *, level: int = logging.INFO, heard: tuple[str, ...] = ()) -> None:
    """Send everything of `fedledger.*` to standard error, and silence what libraries would add.

    Args:
        style: `text` or `json`.
        level: of `logging`, from which on an event is shown.
        heard: libraries whose errors are shown as well, as they are defects; less is for peers to cause.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else PlainLines())
    ROOT.handlers = [handler]
    ROOT.setLevel(level)
    ROOT.propagate = False
    for name in {*_CHATTY, *heard}:
        library = logging.getLogger(name)
        library.setLevel(logging.ERROR if name in heard else logging.CRITICAL)
        if name in heard:
            library.handlers, library.propagate = [handler], False


class PlainLines(logging.Formatter):
    """Time, level and message on one line; line breaks that a peer sent cannot begin another."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        error = error_of(record)
        return f"{moment} {record.levelname.lower():7} {one_line(record)}{f' ({error})' if error else ''}"


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, component, message, and the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "component": record.name.removeprefix("fedledger."),
            "message": one_line(record),
        }
        entry |= getattr(record, "fields", {})
        if error := error_of(record):
            entry["error"] = error
        return json.dumps(entry)


def one_line(record: logging.LogRecord) -> str:
    """Return a record's message with control characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in record.getMessage())


def error_of(record: logging.LogRecord) -> str:
    """Return an exception's type and the innermost places that it passed; empty without one."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    kind, _, trace = record.exc_info
    places = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(trace)[-4:]]
    return f"{kind.__name__} in {' > '.join(places)}"
