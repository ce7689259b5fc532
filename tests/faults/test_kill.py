"""kill -9 at every durable step of a run: never a release without its charge, and resuming works."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from client import rounds as client_rounds
from common.audit.auditor import audit
from common.config import RunConfig, resolve
from common.ledger import Release, Reserve, read_ledger
from simulations.harness import resume, simulate

CLIENTS, ROUNDS = 2, 2
NEVER = 10**9


def settings(images: Path, out: Path, *, reproducible: bool) -> RunConfig:
    return resolve(
        {
            "federation.num-clients": CLIENTS,
            "federation.num-server-rounds": ROUNDS,
            "data.dataset": "folder",
            "data.data-dir": str(images),
            "data.partitioner": "iid",
            "privacy.reproducible-noise": reproducible,
            "runtime.workers": 1,
            "runtime.out": str(out),
        }
    )


def count_durable_steps(kill_at: int, log: Path) -> list[int]:
    """Kill this process just before its n-th durable step, and log every training that begins."""
    done = [0]

    def counted(step):
        def call(*args, **kwargs):
            done[0] += 1
            if done[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **kwargs)

        return call

    for name in ("fsync", "replace", "write", "pwrite", "link", "ftruncate"):
        setattr(os, name, counted(getattr(os, name)))
    train = client_rounds.DPTrainer.fit

    def logged(self, arrays, data, charge, *others):
        with log.open("a") as file:
            file.write(f"{len(data)} {charge.mechanism.num_steps}\n")
        return train(self, arrays, data, charge, *others)

    client_rounds.DPTrainer.fit = logged
    return done


def child(config: RunConfig, kill_at: int, go_on: bool) -> None:
    out = Path(config.runtime.out)
    done = count_durable_steps(kill_at, out.with_suffix(".trained"))
    if go_on:
        resume(out)
    else:
        simulate(config)
    out.with_suffix(".steps").write_text(str(done[0]))


def run_child(config: RunConfig, kill_at: int = NEVER, *, go_on: bool = False) -> int:
    process = multiprocessing.get_context("fork").Process(target=child, args=(config, kill_at, go_on))
    process.start()
    process.join(120)
    return process.exitcode


def charges(out: Path, kind: type) -> list:
    ledgers = sorted(out.glob("ledgers/client-*.jsonl"))
    return [
        entry.body for path in ledgers for entry in read_ledger(path).entries if isinstance(entry.body, kind)
    ]


def trainings(out: Path) -> int:
    log = out.with_suffix(".trained")
    return len(log.read_text().splitlines()) if log.exists() else 0


def reported_rounds(out: Path) -> list[dict]:
    path = out / "rounds.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def check_charged(out: Path) -> None:
    """Nothing was trained, released or averaged that is not charged on disk."""
    reserved = {(body.run, body.round) for body in charges(out, Reserve)}
    assert trainings(out) <= len(charges(out, Reserve))
    assert {(body.run, body.round) for body in charges(out, Release)} <= reserved
    released = {body.update for body in charges(out, Release)}
    for line in reported_rounds(out):
        assert set(line["updates"].values()) <= released


@pytest.fixture(scope="module")
def uninterrupted(tiny_images, tmp_path_factory) -> Path:
    """A whole run; made in this process first, so that forked children find images and code loaded."""
    folder = tmp_path_factory.mktemp("whole")
    simulate(settings(tiny_images, folder / "warm", reproducible=True))
    config = settings(tiny_images, folder / "run", reproducible=True)
    assert run_child(config) == 0
    return folder / "run"


def durable_steps(out: Path) -> int:
    return int(out.with_suffix(".steps").read_text())


def test_killed_at_every_durable_step_a_run_resumes_to_the_same_bits(tiny_images, uninterrupted, tmp_path):
    model = (uninterrupted / "model.safetensors").read_bytes()
    resumed = uneven = 0
    for kill_at in range(1, durable_steps(uninterrupted) + 1):
        out = tmp_path / f"{kill_at}" / "run"
        config = settings(tiny_images, out, reproducible=True)
        assert run_child(config, kill_at) == -signal.SIGKILL
        check_charged(out)
        uneven += len({len(read_ledger(path).entries) for path in out.glob("ledgers/client-*.jsonl")}) > 1
        if not (out / "config.toml").exists():
            continue  # not even the settings were written: there is no run yet
        resumed += 1
        assert run_child(config, go_on=True) == 0
        assert (out / "model.safetensors").read_bytes() == model
        assert len(charges(out, Reserve)) == len(charges(out, Release)) == CLIENTS * ROUNDS
        assert audit(out).verified
    assert resumed > 20
    assert uneven > 3, "no kill fell between two ledger entries of one round"


def test_killed_under_fresh_noise_every_training_stays_charged(tiny_images, uninterrupted, tmp_path):
    steps = durable_steps(uninterrupted)
    for kill_at in range(steps // 3, steps, 7):
        out = tmp_path / f"{kill_at}" / "run"
        config = settings(tiny_images, out, reproducible=False)
        assert run_child(config, kill_at) == -signal.SIGKILL
        check_charged(out)
        assert run_child(config, go_on=True) == 0
        check_charged(out)
        report = audit(out)
        assert report.verified
        assert all(client.epsilon <= client.budget for client in report.clients)
