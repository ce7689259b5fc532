"""A client's site: opened once, and its ledger always as it is on disk."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from PIL import Image

from client.site import close_sites, open_site
from common.config import resolve
from common.errors import ConfigError, LedgerError, LedgerFork
from common.ledger import Ledger, Reserve, SigningKey
from common.privacy.mechanisms import PoissonGaussian
from common.run_folder import RunFolder


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(10):
                Image.fromarray(np.full((32, 32, 3), number, dtype=np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    yield folder
    close_sites(folder.root)


def node(images: Path, out: str, *, partition_id: int = 1, nodes: int = 2, **more: str) -> Context:
    settings = {
        "federation.num-clients": 2,
        "data.dataset": "folder",
        "data.data-dir": str(images),
        "data.partitioner": "iid",
        "runtime.out": out,
        **more,
    }
    node_config = {"partition-id": partition_id, "num-partitions": nodes}
    run_config = resolve(settings).flat()
    return Context(run_id=7, node_id=2, node_config=node_config, state=RecordDict(), run_config=run_config)


def charge(folder: RunFolder, number: int) -> None:
    """Append a charge as another process of the same client would."""
    ledger = Ledger.open(folder.ledger(1), SigningKey.load(folder.key(1)))
    mechanism = PoissonGaussian(noise_multiplier=2.0, sample_rate=Fraction(1, 5), num_steps=1)
    ledger.append(
        Reserve(
            run="run",
            round=number,
            purpose="train",
            mechanisms=(mechanism,),
            max_grad_norm=1.0,
            normaliser=Fraction(2),
            sampler="poisson",
            noise_source="chacha20",
            input_model="0" * 64,
            server_nonce="c" * 64,
            code_digest="d" * 64,
            libraries={"torch": "2"},
        )
    )


def test_a_site_is_opened_once(images, folder):
    context = node(images, str(folder.root))
    site = open_site(context)
    assert len(site.records) == 10
    assert len(site.ledger.view.entries) == 1
    assert open_site(context) is site


def test_a_site_sees_what_another_process_of_its_client_charged(images, folder):
    context = node(images, str(folder.root))
    site = open_site(context)
    charge(folder, 1)
    charge(folder, 2)
    assert [body.round for body in open_site(context).ledger.view.reservations()] == [1, 2]
    charge(folder, 3)
    assert [body.round for body in open_site(context).ledger.view.reservations()] == [1, 2, 3]
    assert open_site(context) is site


def test_a_site_refuses_a_ledger_put_back_to_an_older_state(images, folder):
    context = node(images, str(folder.root))
    open_site(context)
    older = folder.ledger(1).read_bytes()
    charge(folder, 1)
    open_site(context)
    folder.ledger(1).write_bytes(older)
    with pytest.raises(LedgerFork, match="lost entries"):
        open_site(context)


def test_a_site_refuses_a_ledger_that_was_removed(images, folder):
    context = node(images, str(folder.root))
    open_site(context)
    folder.ledger(1).unlink()
    with pytest.raises(LedgerError, match="does not exist"):
        open_site(context)


def test_as_many_nodes_as_clients_are_needed(images, folder):
    with pytest.raises(ConfigError, match=r"has 3 nodes, but federation\.num-clients = 2"):
        open_site(node(images, str(folder.root), nodes=3))


def test_a_relative_run_folder_is_refused(images):
    with pytest.raises(ConfigError, match="absolute"):
        open_site(node(images, "runs/here"))


def test_auto_is_a_folder_named_after_flowers_run(images, tmp_path, monkeypatch):
    monkeypatch.setenv("FEDLEDGER_HOME", str(tmp_path))
    open_site(node(images, "auto"))
    assert (tmp_path / "runs" / "flower-7" / "ledgers" / "client-1.jsonl").exists()
    close_sites(tmp_path / "runs" / "flower-7")


def test_a_site_holds_features_where_the_model_has_a_front(images, folder, monkeypatch):
    monkeypatch.setattr("client.ledgers.new_salt", lambda: bytes(32))
    site = open_site(node(images, str(folder.root), **{"model.name": "scatter-cnn"}))
    assert site.records.inputs.shape == (10, 1, 243, 8, 8)
    assert site.records.classes == ("cat", "dog")
    close_sites(folder.root)
    other = RunFolder(folder.root.with_name("other"))
    plain = open_site(node(images, str(other.root)))
    close_sites(other.root)
    assert plain.records.inputs.shape == (10, 3, 32, 32)
    commitments = {one.ledger.view.genesis.commitment for one in (site, plain)}
    assert len(commitments) == 1, "a ledger commits to images, whatever a model makes of them"


def test_a_site_refuses_an_augmentation_that_features_cannot_have(images, folder):
    settings = {"model.name": "scatter-linear", "data.augmentation": "flip-crop"}
    with pytest.raises(ConfigError, match="data.augmentation = 'flip-crop' does not go with model"):
        open_site(node(images, str(folder.root), **settings))
    assert not folder.ledger(1).exists(), "nothing is begun for it"
