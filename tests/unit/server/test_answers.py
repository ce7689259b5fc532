"""A round's replies, taken one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.arrays import digest
from common.ledger import parse_lines
from common.protocol import Description, Refusal, Reply, TrainRequest
from server.answers import Answers
from server.proposals import Asked
from server.state import ClientRecord, RunState
from server.strategy import FedAvg
from tests.small_federation import MODEL, MadeUpClient, federation_settings

STRATEGY = FedAvg(federation_settings(5), (0, 1))
NONCE = "c" * 64
REQUEST = TrainRequest(
    run="run",
    round=4,
    arrays=MODEL,
    proposal=STRATEGY.proposal(0),
    server_nonce=NONCE,
    known_entries=1,
)


@pytest.fixture
def clients() -> list[MadeUpClient]:
    return [MadeUpClient(0, 10, 1.0), MadeUpClient(1, 30, 4.0)]


@pytest.fixture
def answers(clients) -> Answers:
    records = {
        c.partition_id: ClientRecord(
            node_id=10 + c.partition_id,
            partition_id=c.partition_id,
            num_examples=c.num_examples,
            ledger=parse_lines(c.lines),
        )
        for c in clients
    }
    state = RunState(run="run", round=3, arrays=MODEL, velocity=MODEL, clients=records)
    return Answers(state, STRATEGY)


def take(answers: Answers, partition_id: int, reply: Reply) -> None:
    """Let a reply be taken as that to the request above."""
    client = answers._state.clients[partition_id]
    asked = Asked(
        proposal=STRATEGY.proposal(partition_id),
        num_examples=client.num_examples,
        input_model=digest(MODEL),
        nonce=NONCE,
        reproducible_noise=False,
    )
    answers.take(partition_id, reply, asked)


def honest(client: MadeUpClient):
    return client.updated(REQUEST, client.update(MODEL))


def test_updates_are_averaged_and_their_ledgers_taken_over(answers, clients):
    for client in clients:
        take(answers, client.partition_id, honest(client))
    mean = answers.mean.mean()
    for name, array in MODEL.items():
        np.testing.assert_array_equal(mean[name], np.full_like(array, 3.25))  # (10 * 1 + 30 * 4) / 40
    assert answers.updates == {c.partition_id: digest(c.update(MODEL)) for c in clients}
    assert answers.refused == []
    assert answers.retired == {}
    for client in clients:
        assert answers.clients[client.partition_id].ledger == parse_lines(client.lines)
        assert answers.clients[client.partition_id].node_id == 10 + client.partition_id


def test_what_is_dropped_changes_no_sum(answers, clients):
    take(answers, 0, honest(clients[0]))
    take(answers, 1, replace(honest(clients[1]), num_examples=31))
    assert {name: array.tolist() for name, array in answers.mean.mean().items()} == {
        "a": [1.0, 1.0],
        "b": [[1.0]],
    }
    assert set(answers.updates) == set(answers.clients) == {0}
    (refusal,) = answers.refused
    assert (refusal.partition_id, refusal.code) == (1, "message")


def test_a_client_cannot_answer_for_another(answers, clients):
    take(answers, 1, honest(clients[0]))
    take(answers, 0, Refusal(partition_id=1, code="budget-exhausted", reason="spent"))
    assert answers.updates == {}
    assert [(r.partition_id, r.code) for r in answers.refused] == [(1, "message"), (0, "budget-exhausted")]
    assert set(answers.retired) == {0}


def test_another_clients_ledger_is_no_evidence(answers, clients):
    take(answers, 1, replace(honest(clients[0]), num_examples=30))
    (refusal,) = answers.refused
    assert refusal.code == "ledger-tampered"
    assert set(answers.retired) == {1}


@pytest.mark.parametrize(
    ("code", "lasts"),
    [
        ("budget-exhausted", True),
        ("policy-refused", True),
        ("config", True),
        ("data", True),
        ("ledger-tampered", True),
        ("internal", False),
        ("message", False),
        ("ledger", False),
        ("no such code", False),
    ],
)
def test_refusals_that_would_only_be_repeated_retire_their_client(answers, code, lasts):
    refusal = Refusal(partition_id=1, code=code, reason="because")
    take(answers, 1, refusal)
    assert answers.refused == [refusal]
    assert answers.retired == ({1: refusal} if lasts else {})


def test_a_description_is_no_update(answers, clients):
    description = Description(
        partition_id=0, num_examples=10, ledger_lines=tuple(clients[0].lines), presence=b""
    )
    take(answers, 0, description)
    assert answers.updates == {}
    assert answers.refused[0].code == "message"


def test_without_any_update_the_mean_is_zero(answers):
    assert {name: array.tolist() for name, array in answers.mean.mean().items()} == {
        "a": [0.0, 0.0],
        "b": [[0.0]],
    }


def test_the_charge_may_be_older_than_this_round_but_the_release_must_be_its_own(answers, clients):
    client = clients[0]
    client.reserve(replace(REQUEST, round=3))  # a crash, and the round is computed again
    take(answers, 0, honest(client))
    assert set(answers.updates) == {0}
    assert len(answers.clients[0].ledger.reservations()) == 2
