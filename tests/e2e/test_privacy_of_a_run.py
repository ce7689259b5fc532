"""What a run claims, against an accountant of its own and against what the trainer really did."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant
from flwr.app import Context, RecordDict

from client import trainer as client_trainer
from client.optimizer import PrivateOptimizer
from client.policy import ClientPolicy
from client.rounds import train_round
from client.sampling import PoissonSampler
from client.site import Site, open_site
from common.config import RunConfig
from common.data import ImageData
from common.ledger import Genesis, Ledger, SigningKey
from common.models import initial_arrays
from common.privacy import accounting
from common.privacy.accounting import epsilon_pld
from common.privacy.budget import PrivacyBudget
from common.protocol import Proposal, TrainRequest
from simulations.harness import simulate

MODEL = initial_arrays("cnn", num_classes=2, seed=0)


def independent_epsilon(ledger: Path) -> float:
    """Compose a ledger's raw lines with dp-accounting, by no code of this project."""
    entries = [json.loads(line)["entry"] for line in ledger.read_text().splitlines()]
    accountant = PLDAccountant(NeighboringRelation.REPLACE_SPECIAL, 1e-4)
    for entry in entries:
        for mechanism in entry.get("mechanisms", ()):
            numerator, denominator = mechanism["sample_rate"]
            noise = GaussianDpEvent(float(mechanism["noise_multiplier"]))
            event = PoissonSampledDpEvent(numerator / denominator, noise)
            accountant.compose(event, mechanism["steps"])
    return accountant.get_epsilon(float(entries[0]["delta"]))


def direct_epsilon(sigma: float, rate: float, steps: int, delta: float) -> float:
    accountant = PLDAccountant(NeighboringRelation.REPLACE_SPECIAL, 1e-4)
    accountant.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(sigma)), steps)
    return accountant.get_epsilon(delta)


def test_after_three_rounds_the_epsilons_are_those_of_an_independent_accountant(tiny_settings):
    changes = {
        "data.partitioner": "quantity-skew",
        "data.alpha": 3.0,
        "data.min-partition-size": 10,
        "training.batch-size": 4,
        "training.local-steps": 3,
        "privacy.epsilon": 5.0,
    }
    simulation = simulate(tiny_settings(changes=changes))
    assert simulation.report.verified
    epsilons = []
    for client in simulation.report.clients:
        expected = independent_epsilon(simulation.folder.ledger(client.partition_id))
        assert client.epsilon == pytest.approx(expected, rel=1e-3)
        assert client.epsilon <= 5.0
        assert client.steps == 9
        assert client.epsilon_rdp == pytest.approx(expected, rel=0.2)
        assert client.epsilon_rdp > expected
        epsilons.append(expected)
    assert simulation.report.epsilon == pytest.approx(max(epsilons), rel=1e-3)
    written = json.loads((simulation.folder.root / "report.json").read_text())
    assert written["epsilon"] == simulation.report.epsilon


def test_five_equal_rounds_do_not_cost_five_times_the_same(tiny_settings):
    """An accountant made anew each round would report the first round's epsilon five times."""
    changes = {
        "federation.num-server-rounds": 5,
        "privacy.noise-multiplier": 1.1,
        "privacy.epsilon": 50.0,
        "training.local-steps": 2,
        "privacy.delta": 1e-5,
    }
    report = simulate(tiny_settings(changes=changes)).report
    by_round = report.to_json()["epsilon_by_round"]
    assert len(by_round) == 5
    assert all(before < after for before, after in pairwise(by_round))
    expected = [direct_epsilon(1.1, 0.2, 2 * number, 1e-5) for number in range(1, 6)]
    assert by_round == pytest.approx(expected, rel=1e-3)
    assert by_round[-1] == report.epsilon
    assert by_round[-1] < 5 * by_round[0], "nor does adding up the rounds give the truth"


@pytest.fixture
def samplers(monkeypatch) -> list[Fraction]:
    """Return the rates of all samplers made from now on."""
    rates = []

    class Spy(PoissonSampler):
        def __init__(self, num_examples, sample_rate, stream):
            rates.append((num_examples, sample_rate))
            super().__init__(num_examples, sample_rate, stream)

    monkeypatch.setattr(client_trainer, "PoissonSampler", Spy)
    return rates


def site_of(config: RunConfig, root: Path, num_examples: int) -> Site:
    """Return a client with that many random images, and a ledger of its own."""
    generator = torch.Generator().manual_seed(num_examples)
    records = ImageData(
        images=torch.randint(0, 256, (num_examples, 3, 32, 32), dtype=torch.uint8, generator=generator),
        labels=torch.randint(0, 2, (num_examples,), generator=generator),
        classes=("cat", "dog"),
    )
    key = SigningKey.generate()
    terms = {"delta": 1e-5, "budget_epsilon": 8.0, "num_examples": num_examples}
    genesis = Genesis.new(key, **terms, commitment="e" * 64)
    return Site(
        partition_id=0,
        config=config,
        records=records,
        ledger=Ledger.create(root / f"{num_examples}.jsonl", key, genesis),
        policy=ClientPolicy(budget=PrivacyBudget(epsilon=8.0, delta=1e-5)),
    )


def request_of(config: RunConfig, noise_multiplier: float | None = 5.0) -> TrainRequest:
    proposal = Proposal(
        training=config.training,
        private=True,
        max_grad_norm=1.0,
        noise_multiplier=noise_multiplier,
        target_epsilon=None,
        planned_rounds=1,
    )
    return TrainRequest(
        run="run", round=1, arrays=MODEL, proposal=proposal, server_nonce="c" * 64, known_entries=1
    )


@pytest.mark.parametrize("num_examples", range(40, 61))
def test_the_sampler_the_ledger_and_the_accountant_use_one_rate(
    tiny_settings, tmp_path, samplers, monkeypatch, num_examples
):
    config = tiny_settings(changes={"training.batch-size": 7, "training.local-epochs": 1})
    site = site_of(config, tmp_path, num_examples)
    accounted = []
    bound = accounting.epsilon_bound

    def spy(mechanisms, delta, **kwargs):
        accounted.extend(m.sample_rate for m in mechanisms)
        return bound(mechanisms, delta, **kwargs)

    monkeypatch.setattr(accounting, "epsilon_bound", spy)
    train_round(site, request_of(config))
    rate = Fraction(7, num_examples)
    assert samplers == [(num_examples, rate)]
    (charge,) = json.loads(site.ledger.view.lines[1])["entry"]["mechanisms"]
    assert Fraction(*charge["sample_rate"]) == rate
    assert set(accounted) == {rate}
    assert charge["steps"] == -(-num_examples // 7)


@pytest.mark.parametrize("num_examples", [41, 59])
def test_the_claims_accountant_gets_the_rate_and_steps_that_were_sampled(
    tiny_settings, tmp_path, monkeypatch, num_examples
):
    config = tiny_settings(changes={"training.batch-size": 7, "training.local-epochs": 1})
    site = site_of(config, tmp_path, num_examples)
    train_round(site, request_of(config, noise_multiplier=4.0 + num_examples / 1000))
    composed = []
    compose = PLDAccountant.compose

    def spy(self, event, count=1):
        composed.append((event.sampling_probability, event.event.noise_multiplier, count))
        return compose(self, event, count)

    monkeypatch.setattr(PLDAccountant, "compose", spy)
    epsilon_pld(site.ledger.view.mechanisms(), 1e-5)
    assert composed == [(7 / num_examples, 4.0 + num_examples / 1000, -(-num_examples // 7))]


def test_every_charged_step_adds_noise_even_when_its_batch_is_empty(tiny_settings, monkeypatch):
    changes = {"training.sample-rate": 0.002, "training.local-steps": 9}
    config = tiny_settings(changes=changes)
    batches, noised = [], []
    draw, add_noise = PoissonSampler.draw, PrivateOptimizer.add_noise

    def spy_draw(self):
        batches.append(draw(self))
        return batches[-1]

    def spy_noise(self):
        add_noise(self)
        noised.append(sum(float(parameter.grad.abs().sum()) for parameter in self.params))

    monkeypatch.setattr(PoissonSampler, "draw", spy_draw)
    monkeypatch.setattr(PrivateOptimizer, "add_noise", spy_noise)
    simulation = simulate(config)
    charged = sum(client.steps for client in simulation.report.clients)
    assert charged == 2 * 3 * 9
    assert len(batches) == len(noised) == charged
    assert sum(len(batch) == 0 for batch in batches) > charged / 2
    assert min(noised) > 0
    assert simulation.report.verified


def test_a_round_of_empty_batches_alone_moves_the_model_by_noise(tiny_settings):
    changes = {"training.sample-rate": 1e-6, "training.local-steps": 4, "privacy.reproducible-noise": True}
    config = tiny_settings(changes=changes)
    context = Context(
        run_id=1,
        node_id=2,
        node_config={"partition-id": 0, "num-partitions": 2},
        state=RecordDict(),
        run_config=config.flat(),
    )
    site = open_site(context)
    update = train_round(site, request_of(config))
    assert all((array != 0).mean() > 0.9 for array in update.arrays.values())
    # each of 4 steps adds N(0, (5 * 1)^2) over the expected batch size 24e-6, times the learning rate 1
    spread = torch.cat([torch.from_numpy(array).flatten() for array in update.arrays.values()]).std()
    assert float(spread) == pytest.approx(4**0.5 * 5 / 24e-6, rel=0.02)
