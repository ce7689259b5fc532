"""Wherever a run stops between two rounds, what comes out is what an uninterrupted run gives."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import to_bytes
from common.audit.auditor import audit
from common.config import RunConfig, resolve
from common.ledger import Acknowledged, Release, Reserve, read_ledger
from common.run_folder import RunFolder
from server.checkpoint import load_state
from simulations.harness import resume, simulate
from tests.small_federation import Watcher

ROUNDS, CLIENTS = 4, 3


def config(images: Path, out: Path) -> RunConfig:
    return resolve(
        {
            "federation.num-clients": CLIENTS,
            "federation.num-server-rounds": ROUNDS,
            "federation.fraction-train": 0.7,
            "data.dataset": "folder",
            "data.data-dir": str(images),
            "data.partitioner": "dirichlet",
            "data.min-partition-size": 5,
            "data.augmentation": "flip",
            "training.sample-rate": 0.3,
            "training.learning-rate": 1.0,
            "training.local-steps": 2,
            "training.learning-rate-decay": "cosine",
            "federation.model-average": 0.9,
            "federation.server-optimizer": "adam",
            "federation.drift-correction": "scaffold",
            "privacy.epsilon": 8.0,
            "privacy.reproducible-noise": True,
            "runtime.workers": 1,
            "runtime.device": "cpu",
            "runtime.out": str(out),
        }
    )


def round_of(body: Reserve | Release | Acknowledged) -> int:
    """Return the round that an entry is about."""
    return body.receipt.receipt.round if isinstance(body, Acknowledged) else body.round


def errors_of(folder: RunFolder) -> set[str]:
    """Return the codes of what refutes a run."""
    return {finding.code for finding in audit(folder.root).findings if finding.severity == "error"}


def result(root: Path) -> dict:
    """Return everything that must not depend on where the run stopped."""
    lines = [json.loads(line) for line in (root / "rounds.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    ledgers = [read_ledger(root / "ledgers" / f"client-{p}.jsonl").entries for p in range(CLIENTS)]
    return {
        "rounds": lines,
        "model": (root / "model.safetensors").read_bytes(),
        "evaluation": (root / "evaluation.json").read_text(),
        "charges": [[(type(e.body), round_of(e.body)) for e in ledger[1:]] for ledger in ledgers],
        "mechanisms": [[e.body.mechanisms for e in x if isinstance(e.body, Reserve)] for x in ledgers],
        "updates": [[e.body.update for e in x if isinstance(e.body, Release)] for x in ledgers],
        "epsilons": [client.epsilon for client in audit(root).clients],
    }


def test_what_is_resumed_here_has_an_average_and_falling_rates(whole):
    averages = [line["average_model"] for line in whole["rounds"]]
    assert hashlib.sha256(whole["model"]).hexdigest() == averages[-1]
    assert len({*averages, *(line["model"] for line in whole["rounds"])}) == 2 * ROUNDS


@pytest.fixture(scope="module")
def whole_run(tiny_images, tmp_path_factory) -> RunFolder:
    root = tmp_path_factory.mktemp("whole") / "run"
    simulate(config(tiny_images, root))
    return RunFolder(root)


@pytest.fixture(scope="module")
def whole(whole_run) -> dict:
    return result(whole_run.root)


def test_what_is_resumed_here_has_a_control_variate_for_each_client(whole_run):
    variates = load_state(whole_run).variates
    assert variates is not None
    assert len(variates) == CLIENTS
    assert all(np.abs(value).max() > 0 for variate in variates.values() for value in variate.values())


def test_an_audit_takes_no_other_model_for_the_average(whole_run, tmp_path):
    assert errors_of(whole_run) == set()
    folder = RunFolder(tmp_path / "copy")
    shutil.copytree(whole_run.root, folder.root)
    folder.model.write_bytes(to_bytes(load_state(folder).arrays))
    assert errors_of(folder) == {"model-differs", "report-differs"}


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    stops=st.lists(st.integers(1, ROUNDS), min_size=1, max_size=3),
    workers=st.lists(st.sampled_from([1, 2, 4]), min_size=3, max_size=3),
)
def test_a_resumed_run_equals_an_uninterrupted_one(tiny_images, whole, tmp_path_factory, stops, workers):
    root = tmp_path_factory.mktemp("stopped") / "run"
    state = simulate(config(tiny_images, root), observer=Watcher(stop_after=stops[0])).state
    assert state.round == min(stops[0], ROUNDS)
    for stop, count in zip(stops[1:], workers, strict=False):
        state = resume(root, observer=Watcher(stop_after=stop), settings={"runtime.workers": count}).state
    if state.round < ROUNDS:
        assert "it can be resumed" in state.ended
        state = resume(root).state
    assert state.ended == f"all {ROUNDS} rounds are done"
    assert result(root) == whole
    shutil.rmtree(root)
