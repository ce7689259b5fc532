"""What a SuperNode prints, in the client's own words: one line for each way not to be connected."""

from __future__ import annotations

import logging
import re

_log = logging.getLogger("fedledger.node")

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NODE_ID = re.compile(r"SuperNode ID: (\d+)")
_ANSWERS_AGAIN = "Connection successful"
_KNOWN = (
    (
        "certificate has expired",
        "the server's certificate has expired: its operator makes a new one (`fedledger pki init`)",
    ),
    (
        "Hostname mismatch",
        "the server's certificate is for another name: give --server as the certificate has it",
    ),
    ("IP address mismatch", "the server's certificate is for another address: give --server as it has it"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the server's certificate is not from the CA of --ca: get the CA's certificate from its operator",
    ),
    ("WRONG_VERSION_NUMBER", "the server does not speak TLS on this port: check --server"),
    ("SSL", "the server and this client agree on no TLS connection: check --server and --ca"),
    ("code: 2004", "the server has not enrolled this key, or its last session is not over yet"),
    ("code: 401", "the server does not know this key: ask its operator to enroll it"),
    ("401 Unauthorized", "the server does not know this key, or its clock is another: ask its operator"),
    ("Address already in use", "its port on this machine was taken"),
    ("Connection attempt failed", "the server does not answer"),
    ("does not recognize this SuperNode", "the server has forgotten this session"),
)


class Complaints:
    """Listens to one SuperNode's output."""

    def __init__(self) -> None:
        self._reason = ""

    @property
    def reason(self) -> str:
        """Why it ended, as far as it said so."""
        return self._reason or "the SuperNode ended without a reason"

    def hear(self, line: str) -> None:
        """Take in one line: log it for whoever looks for details, and note what it means."""
        text = _COLOURS.sub("", line).strip()
        if not text.removeprefix("INFO :").strip():
            return
        _log.debug("%s", text)
        if (match := _NODE_ID.search(text)) is not None:
            self._reason = ""
            _log.info("connected as node %s", match[1], extra={"fields": {"node_id": match[1]}})
        elif _ANSWERS_AGAIN in text and self._reason:
            self._reason = ""
            _log.info("the server answers again")
        else:
            self._note(next((words for sign, words in _KNOWN if sign in text), ""))

    def _note(self, reason: str) -> None:
        if reason and reason != self._reason:
            self._reason = reason
            _log.warning("%s", reason)
