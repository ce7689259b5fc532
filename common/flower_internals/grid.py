"""Replies of nodes, read one by one: what one of them sends neither stops, delays nor replaces another's.

Flower's own grid waits for every object of every reply, up to two hours, fails as a whole where one of them
cannot be decoded, and believes of each reply which question it answers.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flwr.app import Message
from flwr.serverapp import Grid

if TYPE_CHECKING:
    from flwr.superlink.grid import HttpGrid

_AT_A_TIME = 2
_MOST_OBJECTS = 10_000
_NODES_SECONDS = 2.0
"""How often it is looked up which nodes are connected, while parts of a reply are missing."""


@dataclass(frozen=True)
class Unreadable:
    """A reply that cannot be taken, and why."""

    reason: str


@dataclass(frozen=True)
class Interrupted(Unreadable):
    """A reply that will never be whole, for its node stopped in its midst."""


class Replies:
    """Takes the replies to questions off a grid.

    Args:
        grid: Flower's; one that is not spoken to over HTTP hands out messages of this process.
        most_bytes: largest sum of the objects of one reply; a larger one is read no further.
    """

    def __init__(self, grid: Grid, most_bytes: int) -> None:
        self._grid = grid
        self._most_bytes = most_bytes
        self._begun: dict[str, _Begun] = {}
        self._connected: set[int] = set()
        self._looked = -math.inf

    def take(self, questions: Iterable[str]) -> Iterator[tuple[str, Message | Unreadable]]:
        """Yield what has come by now for questions (by their ids), each with its question; wait for none."""
        wanted = set(questions)
        if (grid := _as_http(self._grid)) is not None:
            yield from self._over_http(grid, wanted)
            return
        for message in self._grid.pull_messages(list(wanted)):
            if (question := message.metadata.reply_to_message_id) in wanted:
                wanted.remove(question)
                yield question, message

    def _over_http(self, grid: HttpGrid, wanted: set[str]) -> Iterator[tuple[str, Message | Unreadable]]:
        wire = _Wire(grid)
        self._begun = {question: begun for question, begun in self._begun.items() if question in wanted}
        for question, begun in wire.new_replies(sorted(wanted - set(self._begun))):
            if question in wanted:
                self._begun.setdefault(question, begun)
        for question, begun in list(self._begun.items()):
            read = self._read(wire, question, begun)
            if read is not None:
                del self._begun[question]
                wire.confirm(begun.root)
                yield question, read

    def _read(self, wire: _Wire, question: str, begun: _Begun) -> Message | Unreadable | None:
        """Read on; return the reply once it is whole, None while it is not.

        A node that left, or was shut out, in the midst of its reply never completes it; SuperLink itself
        gives such a reply up only minutes later.
        """
        if len(begun.missing) + len(begun.contents) > _MOST_OBJECTS:
            return Unreadable(f"its reply has more than {_MOST_OBJECTS} parts")
        is_gone = begun.is_awaited and not self._is_connected(wire, begun.node)  # seen before its parts are
        for content in wire.available(begun):
            begun.size += len(content)
            if begun.size > self._most_bytes:
                return Unreadable(f"its reply is larger than {self._most_bytes} bytes")
        if begun.lost:
            return Interrupted("a part of its reply is lost")
        if begun.missing and is_gone:
            return Interrupted("its connection ended in the midst of its reply")
        begun.is_awaited = bool(begun.missing)
        return None if begun.missing else _decoded(question, begun)

    def _is_connected(self, wire: _Wire, node: int) -> bool:
        if time.monotonic() - self._looked >= _NODES_SECONDS:
            self._connected, self._looked = wire.connected(), time.monotonic()
        return node in self._connected


def _as_http(grid: Grid) -> HttpGrid | None:
    """Return a grid that speaks HTTP as what it is; a simulation has none, and need not load all of that."""
    loaded = sys.modules.get("flwr.superlink.grid")
    return grid if loaded is not None and isinstance(grid, loaded.HttpGrid) else None


@dataclass
class _Begun:
    """A reply of which some objects may still be missing."""

    root: str
    node: int
    missing: list[str]
    contents: dict[str, bytes] = field(default_factory=dict)
    size: int = 0
    lost: bool = False
    is_awaited: bool = False


class _Wire:
    """What Flower's grid asks of SuperLink, one thing at a time."""

    def __init__(self, grid: HttpGrid) -> None:
        self._client = grid._runtime_client
        self._about: dict[str, Any] = {"node": grid.node, "run_id": grid.run.run_id}

    def new_replies(self, questions: list[str]) -> Iterator[tuple[str, _Begun]]:
        """Yield the replies that nobody has taken yet, each with what SuperLink says that it answers."""
        from flwr.proto.runtime_pb2 import PullAppMessagesRequest
        from flwr.supercore.inflatable.inflatable_object import iterate_object_tree

        if not questions:
            return
        taken = self._client.PullMessages(PullAppMessagesRequest(message_ids=questions))
        for message, tree in zip(taken.messages_list, taken.message_object_trees, strict=True):
            parts = dict.fromkeys(part.object_id for part in iterate_object_tree(tree))
            about = message.metadata
            begun = _Begun(root=about.message_id, node=about.src_node_id, missing=[*parts])
            yield about.reply_to_message_id, begun

    def available(self, begun: _Begun) -> Iterator[bytes]:
        """Yield the content of each object that is there, up to the first that is not."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for name, content in self._pulled(begun.missing, pool):
                begun.lost = begun.lost or content is None
                if not content:
                    return
                begun.contents[name] = content
                begun.missing.remove(name)
                yield content

    def _pulled(self, names: list[str], pool: ThreadPoolExecutor) -> Iterator[tuple[str, bytes | None]]:
        """Ask for some objects at a time, and yield each with its content."""
        wanted = list(names)
        for first in range(0, len(wanted), _AT_A_TIME):
            some = wanted[first : first + _AT_A_TIME]
            yield from zip(some, pool.map(self._pull, some), strict=True)

    def _pull(self, name: str) -> bytes | None:
        """Return an object's content: empty while it is not there yet, None where it never will be."""
        from flwr.proto.message_pb2 import PullObjectRequest

        answer = self._client.PullObject(PullObjectRequest(**self._about, object_id=name))
        if not answer.object_found:
            return None
        return answer.object_content if answer.object_available else b""

    def connected(self) -> set[int]:
        """Return the nodes that are connected now."""
        from flwr.proto.runtime_pb2 import GetNodesRequest

        return {node.node_id for node in self._client.GetNodes(GetNodesRequest()).nodes}

    def confirm(self, root: str) -> None:
        """Let SuperLink forget a reply and its objects."""
        from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest

        self._client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(**self._about, message_object_id=root)
        )


def _decoded(question: str, begun: _Begun) -> Message | Unreadable:
    """Decode a reply, which may hold anything at all."""
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

    decode: Callable[[str, dict[str, bytes]], Any] = inflate_object_from_contents
    try:
        message = decode(begun.root, begun.contents)
        if not isinstance(message, Message):
            return Unreadable("its reply is no message")
        if message.metadata.reply_to_message_id != question:
            return Unreadable("its reply claims to answer another question")
    except Exception:  # noqa: BLE001 - Flower's decoder fails in many ways on bytes that a hostile node chose
        return Unreadable("its reply cannot be decoded")
    return message
