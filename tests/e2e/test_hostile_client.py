"""Enrolled nodes that send whatever they like, over TLS: the run ends with the others and says why."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from flwr.supercore.task_identity import TaskIdentity

from common.audit.auditor import audit
from common.ledger import parse_lines
from common.protocol import Refusal
from tests.bad_replies import (
    another_clients_lines,
    forged,
    in_double,
    not_json,
    poisoned,
    reshaped,
    with_bytes,
)
from tests.deployed_server import deployment
from tests.hostile_answers import (
    at_no_time,
    by_round,
    honest,
    in_anothers_name,
    in_one_body,
    in_pieces,
    never_whole,
    replaying,
    undecodable,
)
from tests.small_federation import MadeUpClient
from tests.wire_nodes import wire_nodes

pytestmark = pytest.mark.xdist_group("second-deployment")

PATIENCE = 60
ROUNDS = 3

HOSTILE = {
    "numbers": by_round(partial(poisoned, np.nan), partial(poisoned, np.inf), partial(poisoned, -np.inf)),
    "forms": by_round(reshaped, in_double, partial(with_bytes, b"garbage")),
    "bytes": by_round(undecodable, honest, in_pieces),
    "staller": by_round(honest, honest, never_whole),
    "impostor": by_round(in_anothers_name, at_no_time, in_one_body),
    "replayer": replaying(),
    "forger": forged,
    "thief": another_clients_lines,
    "garbler": not_json,
}

REASONS = {
    ("numbers", 1): "not finite",
    ("numbers", 2): "not finite",
    ("numbers", 3): "not finite",
    ("forms", 1): "has shape",
    ("forms", 2): "it is not float32",
    ("forms", 3): "cannot be decoded",
    ("bytes", 1): "its reply cannot be decoded",
    ("bytes", 3): "its reply is larger than ",
    ("staller", 3): f"it did not answer within {PATIENCE} s",
    ("replayer", 2): "does not end with the release of this very update",
    ("replayer", 3): "does not end with the release of this very update",
    ("forger", 1): "entry 2: its signature is not that of the ledger's key",
    ("thief", 1): "does not continue the chain",
    ("garbler", 1): "entry 1: it is not an entry with its signature",
}
"""Who is refused in which round, and why; in all other rounds everybody takes part who is still asked."""

EARLY = ("forger", "thief", "garbler")
"""Whose ledger was tampered with is not asked again."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    with deployment(tmp_path_factory.mktemp("deployed")) as deployed:
        deployed.start()
        yield deployed


@pytest.fixture(scope="module")
def people():
    changes = {"site-a": None, "site-b": None, **HOSTILE}
    made = {}
    for number, (name, change) in enumerate(changes.items()):
        made[name] = MadeUpClient(number, 30, 0.01 * (-1) ** number, change=change)
    return made


def run(server, images, out: str, clients: int, rounds: int):
    settings = {
        "federation.num-clients": clients,
        "federation.num-server-rounds": rounds,
        "federation.round-timeout-seconds": PATIENCE,
        "privacy.noise-multiplier": 2.0,
        "data.dataset": "folder",
        "data.data-dir": str(images),
        "training.sample-rate": 0.2,
        "runtime.device": "cpu",
    }
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return server.command(
        "run", "--state", str(server.state), "--out", out, "--wait", "60", *options, seconds=300
    )


@pytest.fixture(scope="module")
def finished(server, people, tiny_images):
    with wire_nodes(server, {name: person.answer for name, person in people.items()}) as nodes:
        done = run(server, tiny_images, "run", len(people), ROUNDS)
    return done, nodes


@pytest.fixture(scope="module")
def rounds(server, finished):
    return [json.loads(line) for line in (server.folder / "run" / "rounds.jsonl").read_text().splitlines()]


def test_the_run_ends_with_the_others(server, people, finished, rounds):
    done = finished[0]
    said = f"{done.stdout}\n{done.stderr}\n{server.log}\n{finished[1]['impostor'].failed}"
    assert done.returncode == 0, said
    assert f"Training is over: all {ROUNDS} rounds are done" in done.stdout
    refused = {(people[name].partition_id, number) for name, number in REASONS}
    for line in rounds:
        gone = {people[name].partition_id for name in EARLY} if line["round"] > 1 else set()
        out = {partition for partition, number in refused if number == line["round"]} | gone
        assert set(line["participants"]) == set(range(len(people))) - out, said
    assert audit(server.folder / "run").verified


@pytest.mark.parametrize(("name", "number"), REASONS)
def test_each_hostile_answer_is_refused_for_what_it_is(people, rounds, name, number):
    partition = people[name].partition_id
    (why,) = [one["reason"] for one in rounds[number - 1]["refused"] if one["partition_id"] == partition]
    assert REASONS[name, number] in why


@pytest.mark.parametrize(("name", "number"), REASONS)
def test_display_report_and_page_say_who_and_why(server, people, finished, rounds, name, number):
    partition, reason = people[name].partition_id, REASONS[name, number]
    begins = f"{name} left out: " if name == "staller" else f"{name} refused: "
    assert any(line.startswith(begins) and reason in line for line in finished[0].stdout.splitlines())
    report = json.loads((server.folder / "run" / "report.json").read_text())
    assert any(one["partition_id"] == partition and reason in one["reason"] for one in report["left_out"])
    page = (server.folder / "run" / "report.html").read_text()
    assert f"client {partition}, " in page


def test_a_node_speaks_in_no_other_name(server, people, finished, rounds):
    noted = finished[1]["impostor"].noted
    names = {
        "pull-messages",
        "send-node-heartbeat",
        "deactivate-node",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    }
    assert {name: noted[name] for name in names} == dict.fromkeys(names, 401)
    assert (noted["as another"], noted["as the server"]) == (403, 403)
    assert "impostor sent a reply in another node's name" in server.log
    assert "impostor sent a request in another node's name" in server.log
    assert people["site-a"].asked == [1, 2, 3]
    assert all(people["site-a"].partition_id in line["participants"] for line in rounds)


def test_a_body_of_a_gigabyte_is_refused_at_its_announcement(server, finished):
    assert finished[1]["impostor"].noted["one body"] == 413
    assert "the body is larger than 67108864 bytes" in server.log


def test_a_time_that_is_none_stops_nobody(server, people, finished, rounds):
    assert people["impostor"].partition_id in rounds[1]["participants"]
    assert finished[1]["impostor"].noted["no time"] == 403
    assert "impostor sent a reply from no time at all" in server.log


def test_what_was_refused_is_in_no_ledger_that_the_server_keeps(server, people, finished):
    for name in EARLY:
        kept = (server.folder / "run" / "ledgers" / f"client-{people[name].partition_id}.jsonl").read_text()
        assert len(parse_lines(kept.splitlines()).entries) == 1


def test_old_stolen_and_doubled_ledgers_are_refused_on_joining(server, people, finished, tiny_images):
    old, twin, copy = people["site-b"], MadeUpClient(50, 30, 0.0), MadeUpClient(51, 30, 0.0)
    whole = list(old.lines)
    del old.lines[2:]
    other = people["numbers"]
    twin.key, twin.lines = other.key, other.lines
    copy.lines = list(people["forms"].lines[:1]) + whole[1:]
    borrower = MadeUpClient(53, 30, 0.0)
    borrower.lines = list(people["site-a"].lines)
    here = {
        "site-a": people["site-a"].answer,
        "site-b": old.answer,
        "numbers": MadeUpClient.answer.__get__(_calm(other)),
        "twin": twin.answer,
        "copier": copy.answer,
        "borrower": borrower.answer,
        "strict": MadeUpClient(52, 30, 0.0, change=too_greedy).answer,
    }
    with wire_nodes(server, here):
        done = run(server, tiny_images, "again", len(here), 1)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{server.log}"
    lines = done.stdout.splitlines()
    assert any(line.startswith("site-b refused: ledger") and "lacks its entry" in line for line in lines)
    assert "strict refused: noise multiplier 2 is below its policy's 4" in lines
    assert any(line.startswith("copier refused: entry 1: ") for line in lines)
    assert "borrower refused: client 53 shows a ledger whose key it does not hold" in lines
    doubled = [line for line in lines if "show the same ledger, key or data set" in line]
    assert len(doubled) == 1
    assert doubled[0].startswith(("twin refused: ", "numbers refused: "))
    (line,) = [
        json.loads(line) for line in (server.folder / "again" / "rounds.jsonl").read_text().splitlines()
    ]
    assert len(line["participants"]) == 2
    report = json.loads((server.folder / "again" / "report.json").read_text())
    assert len(report["left_out"]) == 5


def too_greedy(client, request, update):
    """Refuse in words, as a real client's policy does."""
    return Refusal(
        partition_id=client.partition_id,
        code="policy-refused",
        reason="noise multiplier 2 is below its policy's 4",
    )


def _calm(client: MadeUpClient) -> MadeUpClient:
    client.change = None
    return client
