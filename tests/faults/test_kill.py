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

CLIENTS, ROUNDS, STEPS = 2, 2, 2
NEVER = 10**9


def settings(out: Path, *, reproducible: bool) -> RunConfig:
    return resolve(
        {
            "federation.num-clients": CLIENTS,
            "federation.num-server-rounds": ROUNDS,
            "training.local-steps": STEPS,
            "training.sample-rate": 0.002,
            "privacy.reproducible-noise": reproducible,
            "runtime.workers": 1,
            "runtime.out": str(out),
        }
    )


def count_durable_steps(kill_at: int, log: Path) -> None:
    """Kill this process with SIGKILL just before its n-th durable step, and log when training begins."""
    done = [0]

    def counted(step):
        def call(*args, **kwargs):
            done[0] += 1
            if done[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **kwargs)

        return call

    os.fsync, os.replace, os.write = counted(os.fsync), counted(os.replace), counted(os.write)
    train = client_rounds.DPTrainer.fit

    def logged(self, arrays, data, charge, randomness):
        with log.open("a") as file:
            file.write(f"{len(data)} {charge.mechanism.num_steps}\n")
        return train(self, arrays, data, charge, randomness)

    client_rounds.DPTrainer.fit = logged
    return done


def child(out: Path, kill_at: int, *, reproducible: bool, go_on: bool) -> None:
    done = count_durable_steps(kill_at, out.with_suffix(".trained"))
    if go_on:
        resume(out)
    else:
        simulate(settings(out, reproducible=reproducible))
    out.with_suffix(".steps").write_text(str(done[0]))


def run_child(out: Path, kill_at: int = NEVER, *, reproducible: bool = True, go_on: bool = False) -> int:
    process = multiprocessing.get_context("fork").Process(
        target=child, args=(out, kill_at), kwargs={"reproducible": reproducible, "go_on": go_on}
    )
    process.start()
    process.join(120)
    return process.exitcode


def charges(out: Path, kind: type) -> list:
    ledgers = sorted(out.glob("ledgers/*.jsonl"))
    return [entry.body for path in ledgers for entry in read_ledger(path).entries if isinstance(entry.body, kind)]


def trainings(out: Path) -> int:
    log = out.with_suffix(".trained")
    return len(log.read_text().splitlines()) if log.exists() else 0


def reported_rounds(out: Path) -> list[dict]:
    path = out / "rounds.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run_child(out) == 0
    return out


def durable_steps(out: Path) -> int:
    return int(out.with_suffix(".steps").read_text())


def test_killed_at_every_durable_step_a_run_resumes_to_the_same_bits(uninterrupted, tmp_path):
    model = (uninterrupted / "model.safetensors").read_bytes()
    resumed = 0
    for kill_at in range(1, durable_steps(uninterrupted) + 1):
        out = tmp_path / f"{kill_at}" / "run"
        assert run_child(out, kill_at) == -signal.SIGKILL
        assert trainings(out) <= len(charges(out, Reserve))
        assert len(charges(out, Release)) <= len(charges(out, Reserve))
        for line in reported_rounds(out):
            assert set(line["participants"]) == set(range(CLIENTS))
        if not (out / "checkpoint" / "state.json").exists():
            continue
        resumed += 1
        assert run_child(out, go_on=True) == 0
        assert (out / "model.safetensors").read_bytes() == model
        assert len(charges(out, Reserve)) == len(charges(out, Release)) == CLIENTS * ROUNDS
        assert audit(out).verified
    assert resumed > 20


def test_killed_under_fresh_noise_every_training_stays_charged(uninterrupted, tmp_path):
    steps = durable_steps(uninterrupted)
    for kill_at in range(steps // 3, steps, 5):
        out = tmp_path / f"{kill_at}" / "run"
        assert run_child(out, kill_at, reproducible=False) == -signal.SIGKILL
        before = len(charges(out, Reserve))
        assert trainings(out) <= before
        if (out / "checkpoint" / "state.json").exists():
            assert run_child(out, reproducible=False, go_on=True) == 0
            report = audit(out)
            assert report.verified
            assert trainings(out) <= len(charges(out, Reserve))
            assert all(client.epsilon <= client.budget for client in report.clients)


def test_the_counter_really_kills_before_the_charge_is_on_disk(uninterrupted, tmp_path):
    """Some kill point lies between two ledger appends of one round: charges differ between clients."""
    uneven = 0
    for kill_at in range(durable_steps(uninterrupted) // 3, durable_steps(uninterrupted)):
        out = tmp_path / f"{kill_at}" / "run"
        run_child(out, kill_at)
        counts = {len(read_ledger(path).entries) for path in out.glob("ledgers/*.jsonl")}
        uneven += len(counts) > 1
    assert uneven > 3
