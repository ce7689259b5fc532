"""What SuperLink does not check itself of what its nodes send: in whose name, and how much of it.

SuperLink ties the `node` of each request to the key that signed it, but not the message within: without
this, an enrolled node could answer in another's name, and even send it orders in the server's.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

OTHER_NODE, TOO_LARGE = "a reply in another node's name", "a reply that is too large"
NO_TIME = "a reply from no time at all"
_NOT_ITS_KEY = "Invalid SuperNode authentication"
MISDEEDS = {
    OTHER_NODE: OTHER_NODE,
    TOO_LARGE: TOO_LARGE,
    NO_TIME: NO_TIME,
    _NOT_ITS_KEY: "a request in another node's name, or to a server that has forgotten it",
}
"""SuperLink's own words, and those of the guard, for what no node of ours sends, each with what the server's
log says of it."""

_MOST_PARTS = 10_000
_FORBIDDEN, _CONTENT_TOO_LARGE = 403, 413


def guard_fleet_api(reply_bytes: int) -> None:
    """Make the SuperLink that this process will run refuse replies in another node's name, or too large ones.

    Args:
        reply_bytes: largest sum of the objects that a node may send for one reply.
    """
    from flwr.superlink.servicer.fleet import fleet_handlers

    guard = FleetGuard(reply_bytes, _refuse)
    fleet_handlers.push_messages = guard.pushing_messages(fleet_handlers.push_messages)
    fleet_handlers.push_object = guard.pushing_object(fleet_handlers.push_object)


class FleetGuard:
    """Looks at what nodes push before SuperLink does; any thread may call it.

    Args:
        reply_bytes: as in `guard_fleet_api`.
        refuse: raises what ends the request, from a status of HTTP and a text.
    """

    _MOST_SESSIONS = 10_000

    def __init__(self, reply_bytes: int, refuse: Callable[[int, str], None]) -> None:
        self._reply_bytes = reply_bytes
        self._refuse = refuse
        self._lock = threading.Lock()
        self._question: dict[str, str] = {}
        self._sent: Counter[str] = Counter()

    def pushing_messages(self, handle: Callable[..., Any]) -> Callable[..., Any]:
        """Return the handler of `push-messages`, guarded."""

        def guarded(request: Any, state: Any) -> Any:
            if not _is_small(request.message_object_trees):
                self._refuse(_CONTENT_TOO_LARGE, TOO_LARGE)
            for message in request.messages_list:
                told = message.metadata
                if told.src_node_id != request.node.node_id or not told.reply_to_message_id:
                    self._refuse(_FORBIDDEN, OTHER_NODE)
                if not (math.isfinite(told.created_at) and math.isfinite(told.ttl)):
                    self._refuse(_FORBIDDEN, NO_TIME)  # its database would keep none, and fail for all
            response = handle(request=request, state=state)
            self._begin(response.session_id, request.messages_list[0].metadata.reply_to_message_id)
            return response

        return guarded

    def pushing_object(self, handle: Callable[..., Any]) -> Callable[..., Any]:
        """Return the handler of `push-object`, guarded."""

        def guarded(request: Any, state: Any) -> Any:
            if not self._fits(request):
                self._refuse(_CONTENT_TOO_LARGE, TOO_LARGE)
            return handle(request=request, state=state)

        return guarded

    def _begin(self, session: str, question: str) -> None:
        """Note what a session answers; however many answer one question, they count together."""
        with self._lock:
            self._question[session] = question
            if len(self._question) > self._MOST_SESSIONS:
                forgotten = self._question.pop(next(iter(self._question)))
                if forgotten not in self._question.values():
                    self._sent.pop(forgotten, None)

    def _fits(self, request: Any) -> bool:
        with self._lock:
            question = self._question.get(request.session_id, f"node {request.node.node_id}")
            self._sent[question] += len(request.object_content)
            return self._sent[question] <= self._reply_bytes


def _is_small(trees: Any) -> bool:
    """Say whether trees have few enough parts: while SuperLink walks them, all others wait."""
    waiting, parts = list(trees), 0
    while waiting and parts <= _MOST_PARTS:
        parts += 1
        waiting += waiting.pop().children
    return parts <= _MOST_PARTS


def _refuse(status: int, reason: str) -> None:
    from fastapi import HTTPException

    raise HTTPException(status_code=status, detail=reason)
