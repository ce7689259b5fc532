"""The server's own log: one line an event, for people or (JSON) for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

ROOT = logging.getLogger("fedledger")


def begin_logging(style: str) -> None:
    """Send everything of `fedledger.*` to standard error, and what its libraries find wrong.

    Args:
        style: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else PlainLines())
    ROOT.handlers = [handler]
    ROOT.setLevel(logging.INFO)
    ROOT.propagate = False
    for name in ("uvicorn.error", "asyncio"):  # what they call errors are defects; less is for peers to cause
        library = logging.getLogger(name)
        library.handlers, library.propagate = [handler], False
        library.setLevel(logging.ERROR)


class PlainLines(logging.Formatter):
    """Time, level and message on one line; line breaks that a peer sent cannot begin another."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{moment} {record.levelname.lower():7} {one_line(record)}"


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
        return json.dumps(entry)


def one_line(record: logging.LogRecord) -> str:
    """Return a record's message with control characters escaped; of an exception the type alone."""
    text = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        text += f" ({record.exc_info[0].__name__})"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
