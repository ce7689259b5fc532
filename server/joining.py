"""Who takes part: every node is asked for its public facts, and its ledger is verified."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from flwr.serverapp import Grid

from common.errors import FedLedgerError, MessageError, RoundFailed
from common.ledger import parse_lines
from common.ledger.presence import is_present
from common.messages import describe_request_record
from common.protocol import DescribeRequest, Description, Refusal, Reply
from server.exchange import Question, ask, notify
from server.observer import RunObserver
from server.receipts import ReceiptBook, marks_of
from server.state import ClientRecord, RunState, TurnedAway

_FAREWELL_SECONDS = 60.0
_TEST_IMAGES = "the server's test images"
"""What a client whose classes are others calls them."""


def join(
    grid: Grid,
    state: RunState,
    observer: RunObserver,
    book: ReceiptBook,
    *,
    classes: tuple[str, ...] = (),
    images: str = "",
    time_limit: float | None = None,
) -> RunState:
    """Ask all nodes who they are and return the state with those that can take part.

    A ledger that is new to the server's log, or has another key or data set since, is entered into it.

    Args:
        classes: names of the model's outputs, which a client's own must equal.
        images: data.dataset of the test images, for whoever forgot to set it.
        time_limit: seconds, above 0, after which the others go on without a client; None is for ever.

    Raises:
        RoundFailed: when not one client could join.
    """
    content = describe_request_record(DescribeRequest(run=state.run, classes=classes))
    questions = [Question(node_id, -1, content) for node_id in sorted(grid.get_node_ids())]
    clients: dict[int, ClientRecord] = {}
    owners: dict[str | bytes, int] = {}
    turned_away: list[TurnedAway] = []
    not_taken: dict[int, str] = {}
    for question, reply in ask(grid, "query", "join", questions, time_limit=time_limit):
        try:
            client = enrol(question.node_id, reply, clients, state.run)
            if client.partition_id in state.known:
                state.known[client.partition_id].refuse_less(client.partition_id, client.ledger)
            book.check(client.partition_id, client.ledger)
            _refuse_shared(client, owners)
            clients[client.partition_id] = client
        except FedLedgerError as error:
            turned_away.append(_turned_away(question.node_id, reply, error, images))
            if isinstance(reply, Description):
                not_taken[question.node_id] = str(error)
    notify(grid, state.run, not_taken)
    observer.turned_away(turned_away)
    if not clients:
        first = turned_away[0].text if turned_away else "no node is connected"
        raise RoundFailed(f"no client could join: {first}")
    enrolments = [book.enrol(client.partition_id, client.ledger) for client in clients.values()]
    book.write(leaf for leaf in enrolments if leaf)
    joined = replace(state, clients=dict(sorted(clients.items())), turned_away=tuple(turned_away))
    observer.joined(joined, [one.text for one in turned_away])
    return joined


def part(grid: Grid, state: RunState, book: ReceiptBook, *, time_limit: float | None = None) -> RunState:
    """Hand out the receipts that are still due, and write every ledger's head into the server's log.

    A client that cannot be reached gets its receipts with the next message, in this run or another; with a
    time limit, at most a minute is spent on it.
    """
    limit = None if time_limit is None else min(time_limit, _FAREWELL_SECONDS)
    questions = [
        Question(client.node_id, client.partition_id, describe_request_record(_farewell(client, state, book)))
        for client in state.clients.values()
        if book.deliveries(client.ledger)
    ]
    clients = dict(state.clients)
    for question, reply in ask(grid, "query", "part", questions, time_limit=limit):
        client = clients[question.partition_id]
        if isinstance(reply, Description):
            with suppress(FedLedgerError):
                clients[question.partition_id] = replace(
                    client, ledger=client.ledger.extend(reply.ledger_lines)
                )
    heads = [book.head(state.run, client.ledger) for client in clients.values()]
    book.write(leaf for leaf in heads if leaf)
    return replace(state, clients=clients)


def _farewell(client: ClientRecord, state: RunState, book: ReceiptBook) -> DescribeRequest:
    known = len(client.ledger.entries)
    return DescribeRequest(run=state.run, known_entries=known, deliveries=book.deliveries(client.ledger))


def _turned_away(node_id: int, reply: Reply, error: FedLedgerError, images: str) -> TurnedAway:
    """Say who could not join: with the client's own reason where it gave one."""
    if isinstance(reply, Refusal):
        refusal = replace(reply, reason=_with_source(reply.reason, images))
        return TurnedAway(node_id=node_id, refusal=refusal, text=_with_source(str(error), images))
    claimed = reply.partition_id if isinstance(reply, Description) else -1
    refusal = Refusal(partition_id=claimed, code=error.code, reason=str(error))
    return TurnedAway(node_id=node_id, refusal=refusal, text=str(error))


def _with_source(reason: str, images: str) -> str:
    """Add to a client's reason where the test images of which it speaks are from, unless from a folder."""
    if images in ("", "folder"):
        return reason
    named = reason.replace(_TEST_IMAGES, f"{_TEST_IMAGES} (data.dataset = {images})")
    return named if named == reason else f"{named}, or start a run with data.dataset = folder"


def _refuse_shared(client: ClientRecord, owners: dict[str | bytes, int]) -> None:
    """Refuse one ledger, key or data set under two numbers: its budget would be counted once and spent twice.

    Args:
        owners: by mark, the clients that joined; this one is added.
    """
    marks = [client.ledger.genesis.ledger_id, *marks_of(client.ledger)]
    for mark in marks:
        if mark in owners:
            raise MessageError(
                f"clients {owners[mark]} and {client.partition_id} show the same ledger, key or data set: "
                "the second is left out"
            )
    owners |= dict.fromkeys(marks, client.partition_id)


def enrol(node_id: int, reply: Reply, present: Mapping[int, ClientRecord], run: str) -> ClientRecord:
    """Turn a client's description into a record, verifying its ledger.

    Raises:
        MessageError: when it did not describe itself, shows a ledger whose key it does not hold, or claims a
            number that is not its own.
        LedgerTampered: when its ledger does not verify.
    """
    if isinstance(reply, Refusal):
        raise MessageError(f"client {reply.partition_id} did not join: {reply.reason}")
    if not isinstance(reply, Description):
        raise MessageError(f"node {node_id} answered with something other than a description")
    if reply.partition_id < 0:
        raise MessageError(
            f"node {node_id} claims to be client {reply.partition_id}, which is no number of one"
        )
    ledger = parse_lines(reply.ledger_lines)
    if not is_present(ledger, run, reply.presence):
        raise MessageError(f"client {reply.partition_id} shows a ledger whose key it does not hold")
    if reply.partition_id in present:
        raise MessageError(f"two nodes claim to be client {reply.partition_id}: the second is left out")
    if ledger.num_examples != reply.num_examples:
        raise MessageError(
            f"client {reply.partition_id} claims {reply.num_examples} examples where its ledger says "
            f"{ledger.num_examples}"
        )
    return ClientRecord(
        node_id=node_id, partition_id=reply.partition_id, num_examples=reply.num_examples, ledger=ledger
    )
