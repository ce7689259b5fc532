"""Wherever a run stops between two rounds, what comes out is what an uninterrupted run gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audit.auditor import audit
from common.config import RunConfig, resolve
from common.ledger import Acknowledged, Release, Reserve, read_ledger
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


@pytest.fixture(scope="module")
def whole(tiny_images, tmp_path_factory) -> dict:
    root = tmp_path_factory.mktemp("whole") / "run"
    simulate(config(tiny_images, root))
    return result(root)


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
