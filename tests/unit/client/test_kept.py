"""The same bytes are sent again for nothing; computing again is charged, or refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from client import rounds
from client.kept import KeptUpdates
from client.rounds import train_round
from client.site import Site, close_sites, open_site
from client.trainer import DPTrainer
from common.arrays import Arrays, digest, to_bytes
from common.errors import CheckpointError, PolicyRefused
from common.ledger import Abort, Acknowledged, Genesis, Release, Reserve
from common.ledger.keys import SigningKey
from common.ledger.receipts import HeldCheckpoint, Receipt
from common.models import initial_arrays
from common.protocol import Proposal, TrainRequest

MODEL = initial_arrays("cnn", num_classes=2, seed=0)
OTHER = {name: value + np.float32(1) for name, value in MODEL.items()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "updates"


@pytest.fixture
def reopened(tiny_settings, folder):
    """Open the client as a new process would: from its files alone."""
    config = tiny_settings()

    def opened() -> Site:
        close_sites(folder.parent / "run")
        node_config = {"partition-id": 0, "num-partitions": 2}
        run_config = config.flat()
        context = Context(
            run_id=1, node_id=2, node_config=node_config, state=RecordDict(), run_config=run_config
        )
        return replace(open_site(context), kept=KeptUpdates(folder))

    return opened


@pytest.fixture
def site(reopened) -> Site:
    return reopened()


@pytest.fixture
def trainings(monkeypatch) -> list[int]:
    """Count trainings: each is a new release."""
    counted: list[int] = []
    fit = DPTrainer.fit

    def spy(self, *arguments):
        counted.append(1)
        return fit(self, *arguments)

    monkeypatch.setattr(DPTrainer, "fit", spy)
    return counted


def request(site: Site, *, run: str = "run", number: int = 1, arrays: Arrays = MODEL) -> TrainRequest:
    proposal = Proposal(
        training=site.config.training,
        private=True,
        max_grad_norm=0.7,
        noise_multiplier=2.0,
        target_epsilon=None,
        planned_rounds=3,
    )
    nonce = hashlib.sha256(f"{run} {number}".encode()).hexdigest()
    return TrainRequest(
        run=run, round=number, arrays=arrays, proposal=proposal, server_nonce=nonce, known_entries=1
    )


def kinds(site: Site) -> list[type]:
    return [type(entry.body) for entry in site.ledger.view.entries]


def confirm(site: Site) -> None:
    """Store a receipt for the last release, as one that a server's log holds would be."""
    key, view = SigningKey.generate(), site.ledger.view
    (sequence,) = view.unconfirmed
    body = view.entries[sequence].body
    receipt = Receipt(
        origin="server",
        server_key=key.public,
        index=0,
        ledger_id=view.genesis.ledger_id,
        sequence=sequence,
        entry=view.entries[sequence].hash,
        run=body.run,
        round=body.round,
    ).sign(key)
    held = HeldCheckpoint(size=1, root="0" * 64, signature=key.sign_raw(b"state"))
    site.ledger.append(Acknowledged(release=sequence, receipt=receipt, checkpoint=held))


def test_the_same_request_gets_the_same_bytes_and_no_new_entry(reopened, trainings):
    first = train_round(reopened(), request(reopened()))
    site = reopened()
    again = train_round(site, replace(request(site), known_entries=3))
    assert digest(again.arrays) == digest(first.arrays)
    assert again.ledger_lines == ()
    assert kinds(site) == [Genesis, Reserve, Release]
    assert len(trainings) == 1


def test_another_model_round_or_run_is_another_computation(site, trainings):
    train_round(site, request(site))
    train_round(site, request(site, arrays=OTHER))
    train_round(site, request(site, number=2))
    train_round(site, request(site, run="other"))
    assert len(trainings) == 4
    assert kinds(site).count(Reserve) == 4


def test_a_release_that_a_crash_prevented_is_made_up_for(site, reopened, trainings, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(rounds, "_release", crash)
        with pytest.raises(KeyboardInterrupt):
            train_round(site, request(site))
    site = reopened()
    assert kinds(site) == [Genesis, Reserve]
    update = train_round(site, request(site))
    assert kinds(site) == [Genesis, Reserve, Release]
    assert site.ledger.view.entries[-1].body.update == digest(update.arrays)
    assert len(trainings) == 1


def test_a_crash_before_the_update_is_kept_is_charged_twice(site, reopened, trainings, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(KeptUpdates, "keep", crash)
        with pytest.raises(KeyboardInterrupt):
            train_round(site, request(site))
    site = reopened()
    train_round(site, request(site))
    assert kinds(site) == [Genesis, Reserve, Reserve, Release]
    assert len(trainings) == 2


def test_nothing_is_released_that_could_not_be_kept(site, monkeypatch):
    def full(*_: object) -> None:
        raise CheckpointError("the disk is full")

    monkeypatch.setattr(KeptUpdates, "keep", full)
    with pytest.raises(CheckpointError):
        train_round(site, request(site))
    assert kinds(site) == [Genesis, Reserve, Abort]


def test_a_damaged_update_is_computed_and_charged_anew(site, folder, trainings):
    first = train_round(site, request(site))
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    second = train_round(site, request(site))
    assert digest(second.arrays) != digest(first.arrays)
    assert kinds(site).count(Reserve) == 2


def test_an_update_that_is_not_what_was_released_is_not_sent(site, folder, trainings):
    train_round(site, request(site))
    (file,) = folder.iterdir()
    file.write_bytes(to_bytes(OTHER))
    again = train_round(site, request(site))
    assert digest(again.arrays) != digest(OTHER)
    assert len(trainings) == 2


def test_confirmed_updates_go_when_the_next_is_kept(site, folder, trainings):
    train_round(site, request(site))
    confirm(site)
    train_round(site, request(site))  # a server that lost the round that it had just confirmed
    assert len(trainings) == 1
    train_round(site, request(site, number=2))
    assert len(list(folder.iterdir())) == 1
    with pytest.raises(PolicyRefused, match="round 1 was released and confirmed already"):
        train_round(site, request(site))
    assert len(trainings) == 2


def test_updates_that_nobody_confirms_do_not_pile_up(site, folder):
    for number in range(1, 13):
        train_round(site, request(site, number=number))
    assert len(list(folder.iterdir())) == 9


def test_a_hostile_name_of_a_run_names_no_other_file(site, folder):
    train_round(site, request(site, run="../../outside"))
    assert [path.parent for path in folder.parent.rglob("*.safetensors")] == [folder]


def crash(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("other", [{"number": 2}, {"run": "other"}])
def test_an_old_number_of_the_servers_is_not_taken_for_another_round(reopened, trainings, other):
    site = reopened()
    train_round(site, request(site))
    before = kinds(site)
    old = replace(request(site, **other), server_nonce=request(site).server_nonce)
    with pytest.raises(PolicyRefused, match="under a number that stands for round 1 already"):
        train_round(site, old)
    assert (kinds(site), len(trainings)) == (before, 1)
    train_round(site, request(site, **other))
    assert len(trainings) == 2
