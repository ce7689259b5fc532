"""What a SuperNode prints, in the client's own words: one line for each way not to be connected."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

from client.deployment.addresses import why_unanswered
from common.flower_internals.node_output import BROKEN_OFF, MESSAGE_SIGNS

_log = logging.getLogger("fedledger.node")

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NODE_ID = re.compile(r"SuperNode ID: (\d+)")
_GAVE_UP, _NO_TLS = "Giving up reconnection", "SSL/TLS handshake error"
_ANSWERS_AGAIN = (
    "Connection successful",
    *MESSAGE_SIGNS,
    "Sent successfully",
    "SuperNode ID: ",
    "is not in `RUNNING` status",
    "to a non-`RUNNING` status",
)
"""What it says when a request was answered, be it by a refusal; as its threads connect apart, it
need not say that it is connected again."""
_REFUSED = "the server refuses this key: it is not enrolled there, or was revoked; ask its operator"
_UNREACHABLE = "Connection attempt failed"
_IGNORED = "while receiving a message. Ignoring the message"
_FATAL = (
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
    ("this server speaks TLS", "the server speaks TLS: give --ca and --key instead of --insecure"),
    ("WRONG_VERSION_NUMBER", "the server does not speak TLS on this port: check --server"),
    ("not enrolled here", _REFUSED),
    (
        "Failed to activate SuperNode",
        "this key has a session already: the server waits a minute; if it stays, another client has the key",
    ),
    ("403 Forbidden", _REFUSED),
    ("401 Unauthorized", "the server does not accept this key's signature: is this machine's clock right?"),
    ("ddress already in use", "its port on this machine was taken"),
    ("terminated gracefully", "the server accepts this session no longer"),
    ("SSL", "the server and this client agree on no TLS connection: check --server and --ca"),
)
"""What a SuperNode says before it ends, in order of precision."""
_LAME = (
    ("Heartbeat failed unexpectedly", "the server has forgotten this session"),
    ("Exception in thread", "a part of the SuperNode died"),
    *((sign, "a message could not be fetched to its end") for sign in BROKEN_OFF),
    (_IGNORED, _REFUSED),
)
"""What a SuperNode says that lives on, but is of no use any more; the last, twice running, as it also says it
once when a run ends just then."""


class Complaints:
    """Listens to one SuperNode's output.

    Args:
        server: host:port.
        authority: the CA's certificate, or None without TLS.
        why: tells why a server does not answer.
    """

    def __init__(
        self, server: str, authority: Path | None, why: Callable[[str], str] = why_unanswered
    ) -> None:
        self._server = server
        self._health = f"--cacert {authority} https" if authority else "http"
        self._why = why
        self._reason = ""
        self._precision = len(_FATAL)
        self._unreachable = False
        self._last = self._unanswered = ""
        self.is_lame = False

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
            _log.info("connected as node %s", match[1], extra={"fields": {"node_id": match[1]}})
        self._note_reach(text)
        self._note_end(text)
        self._note_lameness(text)
        self._last = text

    def _note_reach(self, text: str) -> None:
        if _UNREACHABLE in text and not self._unreachable:
            self._unreachable = True
            self._reason = self._unanswered = f"{self._server} does not answer ({self._why(self._server)})"
            _log.warning(
                "%s; it is tried again and again: check --server and the firewall, such as by curl %s://%s/health",
                *(self._unanswered, self._health, self._server),
            )
        elif self._unreachable and self._was_answered(text):
            self._unreachable = False
            self._reason = "" if self._reason == self._unanswered else self._reason
            _log.info("the server answers again")

    def _was_answered(self, text: str) -> bool:
        """Say whether a line shows an answer of the server: it gives up for one, or for want of TLS."""
        gave_up = _GAVE_UP in text and _NO_TLS not in self._last
        return gave_up or any(sign in text for sign in _ANSWERS_AGAIN)

    def _note_end(self, text: str) -> None:
        for precision, (sign, words) in enumerate(_FATAL[: self._precision]):
            if sign in text:
                self._reason, self._precision = words, precision
                return

    def _note_lameness(self, text: str) -> None:
        for sign, words in _LAME:
            if sign in text and (sign != _IGNORED or self._last == text):
                self._reason, self.is_lame = words, True
                self._precision = 0  # it is asked to end for this; what it says then is no reason
