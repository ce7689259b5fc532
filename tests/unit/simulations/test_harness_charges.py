"""What the clients of a whole federation are charged, and that it stays within their budgets."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

from client.trainer import DPTrainer
from common.data.shares import shares_of
from common.ledger import Reserve, read_ledger
from common.privacy.accounting import epsilon_pld
from common.privacy.mechanisms import PoissonGaussian
from simulations.harness import Simulation, simulate


def rounds(root: Path) -> list[dict]:
    """Return the lines of rounds.jsonl without what time alone decides."""
    lines = [json.loads(line) for line in (root / "rounds.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def reservations(root: Path, partition_id: int) -> list[Reserve]:
    return list(read_ledger(root / "ledgers" / f"client-{partition_id}.jsonl").reservations())


def root_of(simulation: Simulation) -> Path:
    return simulation.folder.root


def test_a_fraction_of_the_clients_trains_and_is_charged_in_each_round(tiny_settings):
    changes = {
        "federation.num-clients": 4,
        "federation.fraction-train": 0.5,
        "federation.num-server-rounds": 6,
    }
    simulation = simulate(tiny_settings(changes=changes))
    root = root_of(simulation)
    asked = {p: [line["round"] for line in rounds(root) if p in line["participants"]] for p in range(4)}
    assert all(len(line["participants"]) == 2 for line in rounds(root))
    for partition_id, numbers in asked.items():
        assert [body.round for body in reservations(root, partition_id)] == numbers
    assert simulation.report.verified
    for client in simulation.report.clients:
        taken = len(asked[client.partition_id])
        assert client.rounds == client.charges == taken
        if taken:  # its noise was calibrated to exactly the rounds in which it is asked
            assert 7.9 < client.epsilon <= 8.0


def test_batch_size_and_epochs_give_each_client_its_own_rate_and_steps(tiny_settings):
    changes = {
        "federation.num-clients": 3,
        "data.partitioner": "quantity-skew",
        "data.alpha": 3.0,
        "data.min-partition-size": 6,
        "training.batch-size": 5,
        "training.local-epochs": 2,
        "federation.num-server-rounds": 2,
    }
    config = tiny_settings(changes=changes)
    simulation = simulate(config)
    sizes = [len(share) for share in shares_of(config)]
    assert len(set(sizes)) == 3
    multipliers = set()
    for partition_id, size in enumerate(sizes):
        bodies = reservations(root_of(simulation), partition_id)
        assert len(bodies) == 2
        for body in bodies:
            (mechanism,) = body.mechanisms
            assert isinstance(mechanism, PoissonGaussian)
            assert mechanism.sample_rate == Fraction(5, size)
            assert mechanism.num_steps == -(-2 * size // 5)  # 2 n / 5, rounded up
            assert body.normaliser == 5
            multipliers.add(mechanism.noise_multiplier)
    assert len(multipliers) == 3
    assert simulation.report.verified
    assert all(7.9 < client.epsilon <= 8.0 for client in simulation.report.clients)


def test_fixed_noise_that_is_too_low_stops_each_client_in_time(tiny_settings):
    changes = {
        "privacy.noise-multiplier": 0.8,
        "privacy.epsilon": 3.0,
        "training.sample-rate": 0.07,
        "federation.num-server-rounds": 200,
    }
    simulation = simulate(tiny_settings(changes=changes))
    affordable = simulation.state.round - 1  # the round that was refused is written down too
    one = PoissonGaussian(noise_multiplier=0.8, sample_rate=Fraction(7, 100), num_steps=1)
    assert affordable >= 3
    assert epsilon_pld([one] * affordable, 1e-5) <= 3.0 < epsilon_pld([one] * (affordable + 1), 1e-5)
    assert simulation.state.ended == "0 of 2 clients can go on and 2 are needed"
    for client in simulation.report.clients:
        assert client.charges == affordable
        assert client.epsilon <= 3.0
    last = rounds(root_of(simulation))[-1]
    assert last["participants"] == []
    assert [refusal["code"] for refusal in last["refused"]] == 2 * ["budget-exhausted"]
    assert simulation.report.verified
    assert (root_of(simulation) / "model.safetensors").exists()


def test_a_client_that_breaks_is_left_out_and_stays_charged(tiny_settings, monkeypatch):
    fit = DPTrainer.fit
    calls = []

    def sometimes(self, *arguments):
        calls.append(1)
        if len(calls) == 3:  # with one worker: the first client of round 2
            raise RuntimeError("record 5 shows patient Smith")
        return fit(self, *arguments)

    monkeypatch.setattr(DPTrainer, "fit", sometimes)
    simulation = simulate(tiny_settings())
    root = root_of(simulation)
    assert [line["participants"] for line in rounds(root)] == [[0, 1], [1], [0, 1]]
    (refusal,) = rounds(root)[1]["refused"]
    assert (refusal["partition_id"], refusal["code"]) == (0, "internal")
    assert not any("Smith" in path.read_text() for path in root.rglob("*.json*"))
    assert [body.round for body in reservations(root, 0)] == [1, 2, 3]
    assert simulation.report.verified
