"""One server and three sites by the command, with TLS and node keys: the model and the audit of a simulation.

Set FEDLEDGER_IMAGES to a folder with train/<class>/ and test/<class>/, such as CIFAR-10 as JPEG files, to
train on a share of it; without, the images are made up.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

from common.audit.auditor import audit
from common.config import resolve
from simulations import simulate
from tests.deployed_server import deployment
from tests.real_clients import start_site

pytestmark = pytest.mark.xdist_group("second-deployment")

SITES, ROUNDS, SEED = 3, 3, 7
IMAGES_OF_A_CLASS = {"train": 60, "test": 10}


@pytest.fixture(scope="module")
def images(tmp_path_factory, tiny_images) -> Path:
    """Return a folder with the first images of each class."""
    if "FEDLEDGER_IMAGES" not in os.environ:
        return tiny_images
    source, share = Path(os.environ["FEDLEDGER_IMAGES"]), tmp_path_factory.mktemp("share")
    for part, count in IMAGES_OF_A_CLASS.items():
        for folder in sorted((source / part).iterdir()):
            (share / part / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copy(file, share / part / folder.name)
    return share


@pytest.fixture(scope="module")
def settings(images) -> dict[str, object]:
    return {
        "federation.num-clients": SITES,
        "federation.num-server-rounds": ROUNDS,
        "data.dataset": "folder",
        "data.data-dir": str(images),
        "data.partitioner": "iid",
        "data.min-partition-size": 1,
        "training.sample-rate": 0.2,
        "privacy.noise-multiplier": 3.0,
        "privacy.reproducible-noise": True,  # in this test alone: noise that can be repeated protects nobody
        "runtime.seed": SEED,
        "runtime.workers": 1,
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory, images, settings) -> Path:
    """Return the folder of a run over three sites."""
    with deployment(tmp_path_factory.mktemp("three-sites")) as server, contextlib.ExitStack() as stack:
        server.start()
        for number in range(SITES):
            permits = "permit-reproducible-noise = true\n"
            site = start_site(server, number, images, sites=SITES, permits=permits, seed=SEED)
            stack.callback(site.kill)
        options = [part for key, value in settings.items() for part in ("--set", f"{key}={_written(value)}")]
        options += ["--out", str(server.folder / "run"), "--wait", "180"]
        done = server.command("run", "--state", str(server.state), *options, seconds=500)
        assert done.returncode == 0, done.stdout + done.stderr + server.log
        return server.folder / "run"


def _written(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def test_three_rounds_over_three_sites_pass_the_audit(finished):
    report = audit(finished)
    assert report.verified
    assert [client.rounds for client in report.clients] == [ROUNDS] * SITES
    rounds = [json.loads(line) for line in (finished / "rounds.jsonl").read_text().splitlines()]
    assert [line["participants"] for line in rounds] == [[0, 1, 2]] * ROUNDS


def test_a_simulation_with_the_same_seed_gives_the_same_model(finished, settings, tmp_path):
    alone = simulate(resolve(settings, {"runtime.out": str(tmp_path / "alone")}))
    models = [(root / "model.safetensors").read_bytes() for root in (finished, alone.folder.root)]
    assert models[0] == models[1]
