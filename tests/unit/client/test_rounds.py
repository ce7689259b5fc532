"""One round on a client: decided, charged, trained, released, in that order."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from client import rounds
from client.optimizer import OptimizerSettings
from client.rounds import train_round
from client.site import Site, open_site
from client.trainer import DPTrainer, LocalUpdate
from common.arrays import digest
from common.config import RunConfig
from common.errors import BudgetExhausted, ConfigError, LedgerTampered, MessageError
from common.ledger import Abort, Genesis, Release, Reserve, read_ledger
from common.models import initial_arrays
from common.privacy.mechanisms import PoissonGaussian, Unprotected
from common.protocol import Proposal, TrainRequest

MODEL = initial_arrays("cnn", num_classes=2, seed=0)


def site_of(config: RunConfig, partition_id: int = 0) -> Site:
    node_config = {"partition-id": partition_id, "num-partitions": 2}
    return open_site(
        Context(run_id=1, node_id=2, node_config=node_config, state=RecordDict(), run_config=config.flat())
    )


def request(site: Site, *, run: str = "run", number: int = 1, arrays=None, **training) -> TrainRequest:
    proposal = Proposal(
        training=site.config.training.model_copy(update=training),
        private=site.config.privacy.enabled,
        max_grad_norm=0.7,
        noise_multiplier=2.0,
        target_epsilon=None,
        planned_rounds=3,
    )
    return TrainRequest(
        run=run,
        round=number,
        arrays=MODEL if arrays is None else arrays,
        proposal=proposal,
        server_nonce="c" * 64,
        known_entries=1,
    )


def kinds(site: Site) -> list[type]:
    return [type(entry.body) for entry in site.ledger.view.entries]


@pytest.fixture
def site(tiny_settings) -> Site:
    return site_of(tiny_settings())


@pytest.fixture
def repeatable(tiny_settings) -> Site:
    return site_of(tiny_settings(changes={"privacy.reproducible-noise": True}))


def test_the_charge_is_on_disk_before_the_first_record_is_touched(site, tiny_settings, monkeypatch):
    path = Path(tiny_settings().runtime.out) / "ledgers" / "client-0.jsonl"
    seen = []
    fit = DPTrainer.fit

    def spy(self, arrays, data, charge, randomness, correction):
        seen.append((read_ledger(path).entries[-1].body, charge, randomness.source))
        return fit(self, arrays, data, charge, randomness, correction)

    monkeypatch.setattr(DPTrainer, "fit", spy)
    update = train_round(site, request(site, local_steps=3))
    ((body, charge, source),) = seen
    mechanism = PoissonGaussian(noise_multiplier=2.0, sample_rate=Fraction(1, 5), num_steps=3)
    assert isinstance(body, Reserve)
    assert (body.run, body.round, body.purpose, body.sampler) == ("run", 1, "train", "poisson")
    assert body.mechanisms == (mechanism,)
    assert charge.mechanism == mechanism
    assert (body.max_grad_norm, body.normaliser, body.noise_source) == (0.7, Fraction(24, 5), "chacha20")
    assert source == "chacha20"
    assert body.input_model == digest(MODEL)
    assert set(body.libraries) == {"torch", "opacus", "flwr", "dp-accounting"}
    released = site.ledger.view.entries[-1].body
    assert released == Release(run="run", round=1, reserve=1, update=digest(update.arrays))


def test_a_reply_holds_the_update_and_the_entries_that_the_server_lacks(site):
    first = train_round(site, request(site))
    assert (first.partition_id, first.num_examples) == (0, 24)
    assert first.ledger_lines == site.ledger.view.lines[1:3]
    assert {name: array.shape for name, array in first.arrays.items()} == {
        name: array.shape for name, array in MODEL.items()
    }
    second = train_round(site, replace(request(site, number=2), known_entries=3))
    assert second.ledger_lines == site.ledger.view.lines[3:]
    assert kinds(site) == [Genesis, Reserve, Release, Reserve, Release]


def test_steps_follow_the_proposed_rule(site, monkeypatch):
    rules, step_by = [], DPTrainer.step_by
    monkeypatch.setattr(
        DPTrainer, "step_by", lambda self, rule, **_: rules.append(rule) or step_by(self, rule)
    )
    train_round(site, request(site, learning_rate=0.3, momentum=0.5, proximal_mu=0.2))
    assert rules == [
        OptimizerSettings(name="sgd", learning_rate=0.3, momentum=0.5, proximal_mu=0.2),
    ]


def test_a_correction_reaches_the_steps_and_changes_no_charge(site):
    plain = train_round(site, request(site))
    huge = {name: np.full_like(array, 1e6) for name, array in MODEL.items()}
    moved = train_round(site, replace(request(site, number=2), correction=huge))
    assert max(np.abs(array).max() for array in plain.arrays.values()) < 1e4
    assert max(array.max() for array in moved.arrays.values()) < -1e4
    first, second = (entry.body for entry in site.ledger.view.entries if isinstance(entry.body, Reserve))
    assert (first.mechanisms, first.input_model) == (second.mechanisms, second.input_model)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda arrays: arrays.pop("fc3.bias"), ConfigError, "lack 'fc3.bias'"),
        (lambda arrays: arrays.update({"more": MODEL["fc3.bias"]}), ConfigError, "lacks 'more'"),
        (lambda arrays: arrays.update({"fc3.bias": MODEL["fc2.bias"]}), ConfigError, "fc3.bias"),
        (
            lambda arrays: arrays.update({"fc3.bias": MODEL["fc3.bias"] * np.float32("nan")}),
            MessageError,
            "the correction's fc3.bias holds values that are not finite",
        ),
    ],
)
def test_a_correction_that_cannot_be_added_is_refused_before_any_charge(site, change, error, match):
    correction = dict(MODEL)
    change(correction)
    with pytest.raises(error, match=match):
        train_round(site, replace(request(site), correction=correction))
    assert kinds(site) == [Genesis]


def test_a_training_that_fails_stays_charged_and_releases_nothing(site, monkeypatch):
    def fail(*_: object) -> LocalUpdate:
        raise ValueError("out of memory at record 5")

    with monkeypatch.context() as patch:
        patch.setattr(DPTrainer, "fit", fail)
        with pytest.raises(ValueError, match="memory"):
            train_round(site, request(site))
    assert kinds(site) == [Genesis, Reserve, Abort]
    assert site.ledger.view.entries[-1].body.reason == "internal"
    assert len(site.ledger.view.mechanisms()) == 1
    update = train_round(site, request(site))
    assert kinds(site) == [Genesis, Reserve, Abort, Reserve, Release]
    assert site.ledger.view.entries[-1].body.reserve == 3
    assert len(update.ledger_lines) == 4


def test_a_refused_round_charges_nothing(site, monkeypatch):
    monkeypatch.setattr(DPTrainer, "fit", None)
    spent = request(site)
    with pytest.raises(BudgetExhausted):
        train_round(site, replace(spent, proposal=replace(spent.proposal, noise_multiplier=0.1)))
    assert kinds(site) == [Genesis]


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        dict(list(MODEL.items())[1:]),
        MODEL | {"more": np.zeros(1, dtype=np.float32)},
        {name: array[..., None] for name, array in MODEL.items()},
    ],
)
def test_a_model_that_does_not_fit_costs_nothing(site, arrays):
    with pytest.raises(ConfigError, match="do not fit the model"):
        train_round(site, request(site, arrays=arrays))
    assert kinds(site) == [Genesis]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_that_is_not_finite_costs_nothing(site, value):
    arrays = {name: array.copy() for name, array in request(site).arrays.items()}
    arrays[min(arrays)].flat[0] = value
    with pytest.raises(MessageError, match="holds values that are not finite"):
        train_round(site, request(site, arrays=arrays))
    assert kinds(site) == [Genesis]


def test_fresh_noise_is_a_new_release_and_a_new_charge(site):
    updates = {digest(train_round(site, request(site)).arrays) for _ in range(3)}
    assert len(updates) == 3
    assert kinds(site) == [Genesis] + 3 * [Reserve, Release]


def test_reproducible_noise_gives_the_same_bytes_and_one_charge(repeatable):
    first = train_round(repeatable, request(repeatable))
    again = train_round(repeatable, request(repeatable))
    assert digest(again.arrays) == digest(first.arrays)
    assert again.ledger_lines == first.ledger_lines
    assert kinds(repeatable) == [Genesis, Reserve, Release]
    assert repeatable.ledger.view.entries[1].body.noise_source == "reproducible"


def test_fresh_noise_is_never_charged_to_a_reproducible_reservation(repeatable):
    train_round(repeatable, request(repeatable))
    privacy = repeatable.config.privacy.model_copy(update={"reproducible_noise": False})
    fresh = replace(repeatable, config=repeatable.config.model_copy(update={"privacy": privacy}))
    train_round(fresh, request(fresh))
    assert [body.noise_source for body in fresh.ledger.view.reservations()] == ["reproducible", "chacha20"]


def test_another_model_round_or_run_is_another_charge(repeatable):
    other = {name: array + 1 for name, array in MODEL.items()}
    train_round(repeatable, request(repeatable))
    train_round(repeatable, request(repeatable, arrays=other))
    train_round(repeatable, request(repeatable, number=2))
    train_round(repeatable, request(repeatable, run="next"))
    assert kinds(repeatable) == [Genesis] + 4 * [Reserve, Release]


def test_an_interrupted_reproducible_round_is_finished_under_its_own_charge(repeatable, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(rounds, "_release", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            train_round(repeatable, request(repeatable))
    assert kinds(repeatable) == [Genesis, Reserve]
    update = train_round(repeatable, request(repeatable))
    assert kinds(repeatable) == [Genesis, Reserve, Release]
    assert repeatable.ledger.view.entries[-1].body.update == digest(update.arrays)


def test_other_bytes_than_those_released_do_not_leave(repeatable, monkeypatch):
    train_round(repeatable, request(repeatable))
    different = LocalUpdate(arrays={name: array + 1 for name, array in MODEL.items()})
    monkeypatch.setattr(DPTrainer, "fit", lambda *_: different)
    with pytest.raises(LedgerTampered, match="RELEASE entry 2"):
        train_round(repeatable, request(repeatable))


def test_unprotected_training_says_so_in_its_ledger(tiny_settings):
    site = site_of(tiny_settings(changes={"privacy.enabled": False}))
    train_round(site, request(site))
    body = site.ledger.view.entries[1].body
    assert body.mechanisms == (Unprotected(num_steps=1),)
    assert (body.max_grad_norm, body.noise_source) == (None, "none")


def norm(update) -> float:
    return float(np.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in update.arrays.values())))


def test_the_proposals_learning_rate_is_used_in_whichever_round(repeatable):
    one, two, one_again = (
        norm(train_round(repeatable, request(repeatable, run=f"r{i}", learning_rate=rate)))
        for i, rate in enumerate((0.5, 1.0, 0.5))
    )
    assert two == pytest.approx(2 * one, rel=1e-4)
    assert one_again == one


@pytest.mark.parametrize("enabled", [True, False])
def test_auto_is_the_documented_learning_rate(tiny_settings, enabled):
    changes = {"privacy.reproducible-noise": True, "privacy.enabled": enabled}
    site = site_of(tiny_settings(changes=changes))
    auto = train_round(site, request(site, run="a", learning_rate="auto"))
    fixed = train_round(site, request(site, run="b", learning_rate=1.2 if enabled else 0.15))
    assert digest(auto.arrays) == digest(fixed.arrays)


def test_a_thread_that_serves_sites_with_other_augmentation_does_not_mix_them_up(repeatable):
    data = repeatable.config.data.model_copy(update={"augmentation": "flip"})
    flipping = replace(repeatable, config=repeatable.config.model_copy(update={"data": data}))
    plain = digest(train_round(repeatable, request(repeatable, run="a")).arrays)
    flipped = digest(train_round(flipping, request(flipping, run="b")).arrays)
    assert flipped != plain
    assert digest(train_round(repeatable, request(repeatable, run="c")).arrays) == plain
