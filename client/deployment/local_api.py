"""A SuperNode's local API, as a worker uses it: one task at a time, each with a token of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from flwr.app import Context, Message

from client.deployment.node import Access
from common.flower_internals import supernode as flower

_BEAT_SECONDS = 10.0
"""A task without a sign of life for a minute counts as dead."""

_ALL_TASKS = tuple(flower.TaskType)
_CLIENT_TASK = flower.TaskType.CLIENT_APP


@dataclass(frozen=True, kw_only=True)
class Task:
    """One message that waits for an answer.

    Args:
        message: what the server asks.
        context: of the run, with its settings.
        bundle: the app from which the server speaks; a zip file, to be judged and never run.
        is_for_clients: whether Flower would have run a ClientApp for it.
    """

    message: Message
    context: Context
    bundle: bytes
    is_for_clients: bool


class LocalApi:
    """Speaks to one SuperNode.

    All kinds of tasks are taken, since a SuperNode waits for ever for one that nobody takes.

    Args:
        access: that SuperNode's.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        guard = flower.SuperExecAuthHttpInterceptor(
            master_secret=access.secret, protected_methods=flower.TAKES_TASKS
        )
        self._tasks = self._client(guard)

    def close(self) -> None:
        """End the connection."""
        self._tasks.close()

    def next_token(self) -> tuple[str, bool] | None:
        """Take the next task, if one waits; return its token, and whether it is for a ClientApp."""
        response = self._tasks.AcquireTask(flower.AcquireTaskRequest(supported_task_types=_ALL_TASKS))
        if not response.token:
            return None
        return response.token, response.task.type == _CLIENT_TASK

    @contextmanager
    def task(self, token: str, *, is_for_clients: bool) -> Iterator[OpenTask]:
        """Hold a task and show signs of life until it is done."""
        client = self._client(flower.RuntimeTokenHttpInterceptor(token))
        done = threading.Event()
        beating = threading.Thread(target=_beat, args=(client, done), name="heartbeat", daemon=True)
        beating.start()
        try:
            yield OpenTask(client, is_for_clients=is_for_clients)
        finally:
            done.set()
            beating.join()
            client.close()

    def _client(
        self, interceptor: flower.SuperExecAuthHttpInterceptor | flower.RuntimeTokenHttpInterceptor
    ) -> flower.RuntimeHttpClient:
        return flower.RuntimeHttpClient.from_server_address(
            self._access.address, insecure=True, root_certificates=None, interceptors=[interceptor]
        )


class OpenTask:
    """One task that was taken.

    Args:
        client: speaks with the task's token.
        is_for_clients: as in `Task`.
    """

    def __init__(self, client: flower.RuntimeHttpClient, *, is_for_clients: bool) -> None:
        self._client = client
        self._is_for_clients = is_for_clients

    def pull(self) -> Task:
        """Fetch the message."""
        message, context, _, bundle = flower.pull_task_input(self._client)
        return Task(
            message=message, context=context, bundle=bundle.content, is_for_clients=self._is_for_clients
        )

    def push(self, reply: Message, context: Context) -> None:
        """Hand over the answer, then close the task; one without an answer stays open, and dies."""
        flower.push_message(self._client, reply, context)
        flower.push_task_output(self._client, context, "completed", "")


def _beat(client: flower.RuntimeHttpClient, done: threading.Event) -> None:
    while not done.wait(_BEAT_SECONDS):
        try:
            client.SendTaskHeartbeat(flower.SendTaskHeartbeatRequest())
        except httpx.HTTPError:
            continue  # the answer, when it is handed over, finds out whether anyone still wants it
