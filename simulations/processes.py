"""Clients on copies of this process, which need not wait for one another's Python."""

from __future__ import annotations

import copy
import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Self

from flwr.app import Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from client.memory import keep_freed_memory
from common.errors import RoundFailed
from simulations.channel import Channel
from simulations.grid import adopt_identity, answer

_PR_SET_PDEATHSIG = 1
_SECONDS_TO_END = 10.0


def can_copy(device: str) -> bool:
    """Return whether copies of this process can train on a device.

    Args:
        device: its type. An accelerator's state does not survive in a copy.
    """
    return sys.platform == "linux" and device == "cpu"


class CopiedApp:
    """Runs a ClientApp on copies of this process, each with what this one has loaded so far.

    The step of a small network is a hundred short calls of the library. Threads that train beside each other
    wait for Python's lock before every one of them, which can cost more than the arithmetic; processes do
    not. A copy costs next to no time and only the memory that it goes on to change.

    A client's files, not a process, say what a client has spent: whichever copy answers begins with them.
    Contexts stay here. Copies die with this process, at once.

    Args:
        app: what each of them runs.
        copies: how many; so many messages can be answered at a time.
    """

    def __init__(self, app: ClientAppCallable, *, copies: int) -> None:
        self._freed = threading.Condition()
        self._idle: list[_Copy] = []
        with _little_to_copy():
            for _ in range(copies):
                self._idle.append(_Copy(app))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the copies that have nothing to do; none has when nobody waits for an answer.

        Each holds the pipes of those that were made before it, so that one ends when all later ones have.
        """
        with self._freed, ExitStack() as ends:
            for process in self._idle:
                ends.callback(process.wait)
            for process in self._idle:
                process.let_go()
            self._idle = []

    def __call__(self, message: Message, context: Context) -> Message:
        """Have a copy answer a message.

        Raises:
            RoundFailed: when the copy died of it, as one does when memory is used up.
        """
        with self._borrowed(context.node_id) as process:
            given = process.ask(message, context)
        context.state = given.state
        for record in given.log:
            logging.getLogger(record.name).handle(record)
        return given.reply

    @contextmanager
    def _borrowed(self, node_id: int) -> Iterator[_Copy]:
        """Lend a copy, if possible one that has the node's files open."""
        with self._freed:
            self._freed.wait_for(lambda: self._idle)
            known = (process for process in self._idle if node_id in process.served)
            process = next(known, self._idle[0])
            self._idle.remove(process)
        process.served.add(node_id)
        try:
            yield process
        finally:
            with self._freed:
                self._idle.append(process)
                self._freed.notify()


@dataclass(frozen=True, kw_only=True)
class _Answer:
    reply: Message
    state: RecordDict
    log: list[logging.LogRecord]


class _Copy:
    """One copy of this process and the pipe to it."""

    def __init__(self, app: ClientAppCallable) -> None:
        self.served: set[int] = set()
        fork = get_context("fork")
        ours, theirs = fork.Pipe()
        self._channel = Channel(ours)
        self._process = fork.Process(
            target=_serve, args=(app, theirs, ours, os.getpid()), name="client", daemon=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a copy uses no lock of another thread
            self._process.start()
        theirs.close()

    def ask(self, message: Message, context: Context) -> _Answer:
        try:
            self._channel.send((message, context))
            given: _Answer = self._channel.receive()
        except (EOFError, OSError):
            self.wait()
            raise RoundFailed(
                f"a process that trained clients died (exit status {self._process.exitcode}), as when memory "
                "is used up: go on with --resume, and with fewer --workers"
            ) from None
        return given

    def let_go(self) -> None:
        self._channel.close()

    def wait(self) -> None:
        self._process.join(_SECONDS_TO_END)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextmanager
def _little_to_copy() -> Iterator[None]:
    """Keep the garbage collector from touching, and so copying, what all processes share."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _serve(app: ClientAppCallable, pipe: Connection, parents: Connection, parent: int) -> None:
    """Answer messages until nobody is there to ask."""
    parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops in order
    _die_with(parent)
    keep_freed_memory()
    log = _log_here()
    channel = Channel(pipe)
    while True:
        try:
            message, context = channel.receive()
        except EOFError:
            return
        adopt_identity(message.metadata.run_id)
        reply = answer(app, message, context)
        channel.send(_Answer(reply=reply, state=context.state, log=_taken(log)))


def _die_with(parent: int) -> None:
    """Have the system kill this process as soon as its parent is dead."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class _Collecting(QueueHandler):
    """Keeps what is logged in a form that can be handed to another process."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return a copy whose text is complete."""
        prepared = copy.copy(record)
        prepared.msg, prepared.args = record.getMessage(), None
        if record.exc_info:
            prepared.exc_text = logging.Formatter().formatException(record.exc_info)
            prepared.exc_info = None
        return prepared


def _log_here() -> SimpleQueue[logging.LogRecord]:
    """Send everything that is logged in this process to one queue."""
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers, logger.propagate = [], True
    logging.getLogger().handlers = [_Collecting(queue)]
    return queue


def _taken(queue: SimpleQueue[logging.LogRecord]) -> list[logging.LogRecord]:
    return [queue.get() for _ in range(queue.qsize())]
