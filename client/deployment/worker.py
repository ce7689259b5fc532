"""The process that touches a site's records: it takes each message and answers with the site's own code."""

from __future__ import annotations

import logging
import time
from typing import Protocol

import httpx
from flwr.app import Context, Message

from client.app import app
from client.deployment.bundle import BundleJudge
from client.deployment.local_api import LocalApi, Task
from client.deployment.node import Access
from client.deployment.worker_front import Front
from client.site import OWN_SITE, Site
from common.errors import FedLedgerError, MessageError, PolicyRefused
from common.messages import reply_record
from common.protocol import Refusal
from common.wire import Fields

_log = logging.getLogger("fedledger.worker")

_STARTING_SECONDS = 60.0


class OpensSites(Protocol):
    """The client's own site, for one message after the other."""

    def open(self, context: Context) -> Site:
        """Return the site for one message of a server."""


class Worker:
    """Answers a SuperNode's messages, one at a time; model and records stay loaded between them.

    Args:
        front: the client that keeps the SuperNode running.
        judge: decides which servers' apps are answered.
        site: the client's own.
        number: the client's number.
    """

    def __init__(self, *, front: Front, judge: BundleJudge, site: OpensSites, number: int) -> None:
        self._front = front
        self._judge = judge
        self._site = site
        self._number = number

    def run(self) -> None:
        """Answer messages until told to finish; a round that has begun is finished first."""
        while not self._front.is_finishing:
            access = self._front.access
            if access is None:
                self._front.wait()
                continue
            api = LocalApi(access)
            try:
                self._serve(api, access)
            finally:
                api.close()

    def _serve(self, api: LocalApi, access: Access) -> None:
        """Answer the messages of one SuperNode for as long as it runs."""
        heard = time.monotonic()
        while not self._front.is_finishing and self._front.access is access:
            try:
                worked = self._answer_next(api)
                heard = time.monotonic()
            except httpx.TransportError:
                if time.monotonic() - heard > _STARTING_SECONDS:
                    self._front.replace(access, "it does not answer on this machine")
                worked = False
            except Exception as error:  # noqa: BLE001 - whatever is wrong between the two, a new one may not have it
                _log.debug("a message failed", exc_info=True)
                self._front.replace(access, f"a message could not be handed over ({type(error).__name__})")
                return
            if not worked:
                self._front.wait()

    def _answer_next(self, api: LocalApi) -> bool:
        """Answer the next message, if there is one."""
        taken = api.next_token()
        if taken is None:
            return False
        token, is_for_clients = taken
        self._front.took()
        with api.task(token, is_for_clients=is_for_clients) as held:
            try:
                task = held.pull()
                held.push(self.answer(task), task.context)
            except httpx.TransportError as error:
                raise RuntimeError("the SuperNode went away with a message") from error
        self._front.gave()
        return True

    def answer(self, task: Task) -> Message:
        """Return the answer to one message: of this installation's own app, or a refusal."""
        began = time.monotonic()
        try:
            reply = self._own_answer(task)
        except FedLedgerError as error:
            reply = self._refusal(task.message, error.code, str(error))
        except Exception as error:  # noqa: BLE001 - as in the app: nothing of another error leaves but its type
            _log.exception("a message could not be answered")
            reply = self._refusal(task.message, "internal", f"the client failed ({type(error).__name__})")
        _report(task, reply, time.monotonic() - began)
        return reply

    def _own_answer(self, task: Task) -> Message:
        if not task.is_for_clients:
            raise PolicyRefused("this client runs no agents")
        self._judge.refuse_unknown(task.bundle)
        kind = task.message.metadata.message_type
        if kind not in ("train", "query"):
            raise MessageError(f"this client answers train and query, not {kind[:40]!r}")
        token = OWN_SITE.set(self._site.open)
        try:
            return app(task.message, self._numbered(task.context))
        finally:
            OWN_SITE.reset(token)

    def _numbered(self, context: Context) -> Context:
        """Name this client by its own number, whatever came with the message."""
        context.node_config = {"partition-id": self._number}
        return context

    def _refusal(self, message: Message, code: str, reason: str) -> Message:
        refusal = Refusal(partition_id=self._number, code=code, reason=reason)
        return Message(reply_record(refusal), reply_to=message)


def _report(task: Task, reply: Message, seconds: float) -> None:
    """Log what was asked and answered; no value of any record is in it."""
    answer = Fields(reply)
    kind, asked = answer.text("kind"), task.message.metadata
    group = asked.group_id[:20]  # a round's number, if the server is what it says
    fields = {
        "run_id": task.context.run_id,
        "asked": asked.message_type,
        "group": group,
        "answer": kind,
        "seconds": round(seconds, 3),
    }
    if kind == "refusal":
        _log.warning("refused (%s): %s", answer.line("code"), answer.line("reason"), extra={"fields": fields})
    else:
        is_round = asked.message_type == "train" and group.isascii() and group.isdecimal()
        said = f"{f'round {group}: ' if is_round else ''}answered with its {kind}"
        _log.info("%s after %.2f s", said, seconds, extra={"fields": fields})
