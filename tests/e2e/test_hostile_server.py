"""A server that is taken over, and one real client: each demand is refused in words, and its ledger stays."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from common.arrays import digest
from common.config import TrainingSettings, resolve
from common.flower_internals.bundle import build_bundle
from common.ledger import Acknowledged, Genesis, Release, Reserve, SigningKey, read_ledger
from common.messages import describe_request_record, train_request_record
from common.models import initial_arrays
from common.protocol import DescribeRequest, Description, Proposal, Refusal, TrainRequest, Update
from common.run_folder import LedgerHome
from common.wire import Fields
from server.receipts import ReceiptBook
from tests.hostile_server import HostileServer
from tests.real_clients import POLICY, ClientProcess

pytestmark = pytest.mark.xdist_group("second-deployment")

MODEL = initial_arrays("cnn", num_classes=2, seed=0)
SETTINGS = {"data.dataset": "synthetic", "training.sample-rate": 0.2, "privacy.noise-multiplier": 2.0}
PROPOSAL = Proposal(
    training=TrainingSettings(sample_rate=0.2, local_steps=1),
    private=True,
    max_grad_norm=1.0,
    noise_multiplier=2.0,
    target_epsilon=None,
    planned_rounds=3,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process = HostileServer(tmp_path_factory.mktemp("server"))
    try:
        process.wait_until_ready()
        yield process
    finally:
        process.kill()


@pytest.fixture(scope="module")
def client(server, tiny_images, tmp_path_factory):
    strict = POLICY.replace("least-noise-multiplier = 0.5", "least-noise-multiplier = 0.8")
    started = ClientProcess(
        tmp_path_factory.mktemp("client"),
        7,
        server.address,
        "--number",
        7,
        "--data-dir",
        tiny_images,
        policy=strict,
    )
    try:
        started.wait_for("connected as node")
        yield started
    finally:
        started.kill()


@pytest.fixture(scope="module")
def hostile(server, client):
    run = server.begin(build_bundle(), resolve(SETTINGS).flat())
    yield run
    run.end()


def file_of(client) -> Path:
    return LedgerHome(client.state).ledger(7)


def deeds(client) -> list[type]:
    return [type(entry.body) for entry in read_ledger(file_of(client)).entries]


def request(number: int = 1, **changes) -> TrainRequest:
    asked = TrainRequest(
        run="run",
        round=number,
        arrays=MODEL,
        proposal=PROPOSAL,
        server_nonce=f"{number:064x}",
        known_entries=0,
    )
    proposal = {name: changes.pop(name) for name in list(changes) if hasattr(PROPOSAL, name)}
    return replace(asked, proposal=replace(PROPOSAL, **proposal), **changes)


@pytest.fixture(scope="module")
def first(hostile, client) -> Update:
    """The one round that is truly computed."""
    update = hostile.ask(train_request_record(request()))
    assert isinstance(update, Update), update
    return update


def test_what_is_permitted_is_computed_and_charged_once(client, first):
    assert deeds(client) == [Genesis, Reserve, Release]


DEMANDS = {
    "no noise": ({"noise_multiplier": 0.0}, "noise multiplier 0 is below its policy's 0.8"),
    "little noise": ({"noise_multiplier": 0.4}, "noise multiplier 0.4 is below its policy's 0.8"),
    "noise that is no number": (
        {"noise_multiplier": math.nan},
        "noise multiplier nan is below its policy's 0.8",
    ),
    "no privacy": ({"private": False}, "unprotected training was proposed"),
    "a huge clip": ({"max_grad_norm": 1e9}, "a clip of 1e+09 is outside its policy's 0 to 2"),
    "a million steps": (
        {"training": TrainingSettings(sample_rate=0.2, local_steps=10**6)},
        "1000000 steps a round are above its policy's 10",
    ),
    "all records in each step": (
        {"training": TrainingSettings(sample_rate=1.0, local_steps=10), "noise_multiplier": 0.8},
        "budget",
    ),
    "another model": ({"arrays": {"w": np.zeros(3, np.float32)}}, "the arrays do not fit the model"),
    "a model that is not finite": (
        {"arrays": {name: np.full_like(array, np.nan) for name, array in MODEL.items()}},
        "not finite",
    ),
    "an old number": ({"server_nonce": f"{1:064x}"}, "under a number that stands for round 1 already"),
}


@pytest.mark.parametrize("name", DEMANDS)
def test_a_demand_outside_the_policy_is_refused_and_leaves_the_ledger(hostile, client, first, name):
    changes, reason = DEMANDS[name]
    before = file_of(client).read_bytes()
    reply = hostile.ask(train_request_record(request(2, **changes)))
    assert isinstance(reply, Refusal), reply
    assert reason in reply.reason
    assert reply.partition_id == 7
    assert "\n" not in reply.reason
    assert file_of(client).read_bytes() == before


@pytest.mark.parametrize("kind", ["evaluate", "train.metrics"])
def test_raw_metrics_are_not_to_be_had(hostile, client, first, kind):
    before = file_of(client).read_bytes()
    reply = hostile.ask(train_request_record(request(2)), kind)
    assert isinstance(reply, Refusal), reply
    assert f"this client answers train and query, not '{kind}'" in reply.reason
    assert file_of(client).read_bytes() == before


def test_a_question_with_more_in_it_brings_no_more_than_public_facts(hostile, client, first):
    content = describe_request_record(DescribeRequest(run="run"))
    content["metrics"] = ConfigRecord({"loss": True, "gradients": True})
    answer = hostile.raw(content, "query")
    assert set(answer.content) == {"fields"}
    assert Fields(answer).names == {"kind", "partition-id", "num-examples", "ledger-lines", "presence"}


def test_an_update_holds_no_more_than_was_charged(hostile, client, first):
    answer = hostile.raw(train_request_record(request()))
    assert set(answer.content) == {"fields", "arrays"}
    assert Fields(answer).names == {"kind", "partition-id", "num-examples", "ledger-lines"}


def test_an_old_round_again_brings_the_same_bytes_and_no_charge(hostile, client, first):
    before = file_of(client).read_bytes()
    again = hostile.ask(train_request_record(request()))
    assert digest(again.arrays) == digest(first.arrays)
    assert file_of(client).read_bytes() == before


@pytest.fixture(scope="module")
def delivery(client, first, tmp_path_factory):
    """A true receipt, of a server's log that is none of this client's yet."""
    ledger = read_ledger(file_of(client))
    with ReceiptBook.open(LedgerHome(tmp_path_factory.mktemp("log"))) as book:
        book.confirm([ledger], "line", "run", 1)
        (made,) = book.deliveries(ledger)
    return made


def test_a_forged_receipt_is_refused_and_a_true_one_is_kept(hostile, client, delivery):
    before = file_of(client).read_bytes()
    receipt, held = delivery.receipt, delivery.checkpoint
    stranger = SigningKey.generate()
    forgeries = {
        "did not sign": replace(delivery, checkpoint=replace(held, signature=bytes(64))),
        "its own log does not hold": replace(delivery, receipt=receipt.receipt.sign(stranger)),
        "not hold": replace(delivery, proof=("0" * 64,)),
        "no RELEASE of ours": replace(delivery, receipt=replace(receipt.receipt, sequence=1).sign(stranger)),
    }
    for reason, forged in forgeries.items():
        asked = DescribeRequest(run="run", deliveries=(forged,))
        reply = hostile.ask(describe_request_record(asked), "query")
        assert isinstance(reply, Refusal), reply
        assert reason in reply.reason
        assert file_of(client).read_bytes() == before
    reply = hostile.ask(train_request_record(request(2, deliveries=(forgeries["not hold"],))))
    assert isinstance(reply, Refusal)
    assert file_of(client).read_bytes() == before
    true = hostile.ask(describe_request_record(DescribeRequest(run="run", deliveries=(delivery,))), "query")
    assert isinstance(true, Description)
    assert deeds(client) == [Genesis, Reserve, Release, Acknowledged]


def test_classes_of_other_names_or_in_another_order_are_refused_before_a_charge(hostile, client, first):
    before = file_of(client).read_bytes()
    for classes in (("dog", "cat"), ("cat", "bird")):
        reply = hostile.ask(describe_request_record(DescribeRequest(run="run", classes=classes)), "query")
        assert isinstance(reply, Refusal), reply
        assert "its class folders are not named like the" in reply.reason
        assert file_of(client).read_bytes() == before
    same = DescribeRequest(run="run", classes=("cat", "dog"))
    assert isinstance(hostile.ask(describe_request_record(same), "query"), Description)


@pytest.mark.parametrize("content", [RecordDict(), RecordDict({"fields": ConfigRecord({"run": 3})})])
def test_what_is_no_request_is_refused(hostile, client, first, content):
    before = file_of(client).read_bytes()
    for kind in ("train", "query"):
        assert isinstance(hostile.ask(content, kind), Refusal)
    assert file_of(client).read_bytes() == before


def test_other_code_is_refused_and_never_imported(server, hostile, client, first, tmp_path):
    marker = tmp_path / "imported"
    bundle = with_line(build_bundle(), f"\n__import__('pathlib').Path({str(marker)!r}).touch()\n")
    before = file_of(client).read_bytes()
    other = server.begin(bundle, resolve(SETTINGS).flat())
    try:
        reply = other.ask(describe_request_record(DescribeRequest(run="run")), "query")
    finally:
        other.end()
    assert isinstance(reply, Refusal), reply
    assert "is not the one installed here" in reply.reason
    assert "client/app.py differs" in reply.reason
    assert not marker.exists()
    assert file_of(client).read_bytes() == before


def with_line(bundle: bytes, line: str) -> bytes:
    """Return a bundle in whose `client/app.py` a line was added."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bundle)) as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.infolist():
            more = line.encode() if entry.filename == "client/app.py" else b""
            new.writestr(entry, old.read(entry) + more)
    return changed.getvalue()
