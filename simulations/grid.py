"""A Flower Grid for clients on this machine, several at a time.

The only module that needs a non-public Flower name: a `Message` takes its run and node from the process's
task identity, which Flower's own runtime would set.
"""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from common.errors import RoundFailed

SERVER_NODE_ID = 1
_CLIENT_FAILED = 2
_WAIT_SECONDS = 0.2


def adopt_identity(run_id: int) -> None:
    """Make this process the place from which a run's messages come."""
    TaskIdentity.run_id = run_id
    TaskIdentity.node_id = SERVER_NODE_ID
    TaskIdentity.task_id = 1


def answer(client_app: ClientAppCallable, message: Message, context: Context) -> Message:
    """Return a client's reply; like Flower's runtime, turn an exception into an error without its text.

    Raises:
        RoundFailed: no client's failure, but that of what it runs on.
    """
    try:
        return client_app(message, context)
    except RoundFailed:
        raise
    except Exception as error:  # noqa: BLE001 - as Flower's runtime: no client may end the run
        return Message(Error(code=_CLIENT_FAILED, reason=type(error).__name__), reply_to=message)


class InProcessGrid(Grid):
    """Delivers messages to one ClientApp under many contexts, on a pool of threads.

    Each message is an isolated copy, and clients run in the order in which messages were pushed, so that
    results do not depend on `workers`.

    Args:
        client_app: what every node runs.
        node_ids: the nodes; one client each.
        make_context: builds a node's context when the node is first asked; it is kept from then on.
        workers: clients that run at a time.
        run_id: Flower's run id.
    """

    def __init__(
        self,
        client_app: ClientAppCallable,
        *,
        node_ids: Iterable[int],
        make_context: Callable[[int], Context],
        workers: int,
        run_id: int = 1,
    ) -> None:
        self._client_app = client_app
        self._node_ids = list(node_ids)
        self._make_context = make_context
        self._contexts: dict[int, Context] = {}
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="client")
        self._replies: dict[str, Message] = {}
        self._failure: RoundFailed | None = None
        self._changed = threading.Condition()
        self._run = Run.create_empty(run_id)
        adopt_identity(run_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is not begun and wait for the clients that are."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def set_run(self, run: Run) -> None:
        """Adopt a run's id."""
        self._run = run
        adopt_identity(run.run_id)

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message from the server to one node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return all nodes."""
        return list(self._node_ids)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages; a client runs as soon as a worker is free."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there, waiting a moment for the first one.

        Raises:
            RoundFailed: when what clients run on is broken.
        """
        wanted = list(message_ids)
        with self._changed:
            self._changed.wait_for(
                lambda: self._failure or not self._replies.keys().isdisjoint(wanted), timeout=_WAIT_SECONDS
            )
            if self._failure:
                raise self._failure
            return [self._replies.pop(message_id) for message_id in wanted if message_id in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push messages and return all replies, or those that came within `timeout` seconds."""
        sent = list(self.push_messages(messages))
        with self._changed:
            self._changed.wait_for(
                lambda: self._failure or self._replies.keys() >= set(sent), timeout=timeout
            )
        return self.pull_messages(sent)

    def _push(self, message: Message) -> str:
        message_id = uuid.uuid4().hex
        message.metadata.__dict__["_message_id"] = message_id
        self._pool.submit(self._deliver, message, message_id)
        return message_id

    def _deliver(self, message: Message, message_id: str) -> None:
        """Run the client on a copy, and keep what it answers."""
        isolated = copy.deepcopy(message)
        try:
            reply = answer(self._client_app, isolated, self._context(message.metadata.dst_node_id))
        except RoundFailed as failure:
            self._fail(failure)
            return
        with self._changed:
            self._replies[message_id] = reply
            self._changed.notify_all()

    def _fail(self, failure: RoundFailed) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _context(self, node_id: int) -> Context:
        with self._changed:
            if node_id not in self._contexts:
                self._contexts[node_id] = self._make_context(node_id)
            return self._contexts[node_id]
