"""Who takes part: every node is asked for its public facts, and its ledger is verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flwr.serverapp import Grid

from common.errors import FedLedgerError, MessageError, RoundFailed
from common.ledger import parse_lines
from common.messages import describe_request_record
from common.protocol import DescribeRequest, Description, Refusal, Reply
from server.exchange import Question, ask
from server.observer import RunObserver
from server.state import ClientRecord, RunState


def join(grid: Grid, state: RunState, observer: RunObserver) -> RunState:
    """Ask all nodes who they are and return the state with those that can take part.

    Raises:
        RoundFailed: when not one client could join.
    """
    content = describe_request_record(DescribeRequest(run=state.run))
    questions = [Question(node_id, -1, content) for node_id in sorted(grid.get_node_ids())]
    clients: dict[int, ClientRecord] = {}
    refused: list[str] = []
    for question, reply in ask(grid, "query", "join", questions):
        try:
            client = enrol(question.node_id, reply, clients)
            if client.partition_id in state.known:
                state.known[client.partition_id].refuse_less(client.partition_id, client.ledger)
            clients[client.partition_id] = client
        except FedLedgerError as error:
            refused.append(str(error))
    if not clients:
        raise RoundFailed(f"no client could join: {refused[0] if refused else 'no node is connected'}")
    joined = replace(state, clients=dict(sorted(clients.items())))
    observer.joined(joined, refused)
    return joined


def enrol(node_id: int, reply: Reply, present: Mapping[int, ClientRecord]) -> ClientRecord:
    """Turn a client's description into a record, verifying its ledger.

    Raises:
        MessageError: when it did not describe itself, or claims a number that is not its own.
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
    if reply.partition_id in present:
        raise MessageError(f"two nodes claim to be client {reply.partition_id}: the second is left out")
    ledger = parse_lines(reply.ledger_lines)
    if ledger.genesis.num_examples != reply.num_examples:
        raise MessageError(
            f"client {reply.partition_id} claims {reply.num_examples} examples where its ledger says "
            f"{ledger.genesis.num_examples}"
        )
    return ClientRecord(
        node_id=node_id, partition_id=reply.partition_id, num_examples=reply.num_examples, ledger=ledger
    )
