"""SCAFFOLD's control variates as the server computes them, by hand, through stops, and in use."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from torch import nn

from client.noise import PrivateRandomness
from client.optimizer import OptimizerSettings
from client.trainer import DPTrainer
from common.errors import CheckpointError, ConfigError
from common.run_folder import RunFolder
from server.drift import DriftCorrection
from tests.small_federation import MODEL, MadeUpClient, Watcher, coordinate
from tests.small_trainings import charge, records
from tests.unit.server.test_rounds import crash, refuse

pytestmark = pytest.mark.usefixtures("flower_identity", "small_model")

SCAFFOLD = {
    "federation.drift-correction": "scaffold",
    "training.learning-rate": 0.5,
    "training.local-steps": 4,
}


def clients() -> tuple[list[MadeUpClient], dict[int, list[float]]]:
    """Return clients, and what each is told to add to its gradients, round by round."""
    told: dict[int, list[float]] = {0: [], 1: [], 2: []}

    def note(client, request, _):
        values = np.unique(np.concatenate([value.ravel() for value in request.correction.values()]))
        assert len(values) == 1
        assert {n: v.shape for n, v in request.correction.items()} == {n: v.shape for n, v in MODEL.items()}
        told[client.partition_id].append(float(values[0]))
        return client.updated(request, client.update(request.arrays))

    made = [MadeUpClient(0, 10, 6.0), MadeUpClient(1, 20, -3.0), MadeUpClient(2, 30, 2.0)]
    for client in made:
        client.change = note
    return made, told


def variates(state) -> dict[int, float]:
    return {number: float(variate["b"][0, 0]) for number, variate in sorted(state.variates.items())}


def test_two_rounds_by_hand(folder):
    # Four steps of 0.5: a variate is minus half the update, minus what the client was told to add.
    asked, told = clients()
    first = coordinate(folder, asked, rounds=1, changes=SCAFFOLD)
    assert variates(first) == {0: -3.0, 1: 1.5, 2: -1.0}
    # Their mean, weighted by 10, 20 and 30 examples, is -1 / 2.
    second = coordinate(folder, asked, rounds=2, changes=SCAFFOLD)
    assert told == {0: [0.0, 2.5], 1: [0.0, -2.0], 2: [0.0, 0.5]}
    assert variates(second) == {0: -5.5, 1: 3.5, 2: -1.5}


def test_the_mean_is_over_clients_as_they_are_weighted(folder):
    asked, told = clients()
    coordinate(folder, asked, rounds=2, changes={**SCAFFOLD, "federation.weighting": "uniform"})
    assert [values[1] for values in told.values()] == pytest.approx([13 / 6, -14 / 6, 1 / 6])


def test_the_rate_that_a_round_had_counts(folder):
    asked, _ = clients()
    coordinate(folder, asked, rounds=2, changes={**SCAFFOLD, "training.learning-rate-decay": "linear"})
    state = coordinate(
        folder, asked, rounds=2, changes={**SCAFFOLD, "training.learning-rate-decay": "linear"}
    )
    assert variates(state) == {
        0: -6.0 - 2.5,
        1: 3.0 + 2.0,
        2: -2.0 - 0.5,
    }  # the second rate is half the first


def test_who_does_not_answer_keeps_its_variate_and_who_is_retired_leaves_the_mean(folder):
    asked, told = clients()
    asked[0].change_in, note = (1, 2), asked[1].change
    asked[1].change = lambda client, request, update: (
        crash(client, request, update) if request.round == 1 else note(client, request, update)
    )
    asked[2].change = partial(refuse, "budget-exhausted")
    state = coordinate(folder, asked, rounds=2, changes=SCAFFOLD)
    # After round 1 only client 0 has a variate, -3, of the mean -3 * 10 / 30 of the two that are left.
    assert told == {0: [0.0, 2.0], 1: [-1.0], 2: []}
    assert variates(state) == {0: -5.0, 1: 2.5}


def test_a_stop_changes_no_bit(folder, tmp_path):
    whole = coordinate(RunFolder(tmp_path / "whole"), clients()[0], rounds=5, changes=SCAFFOLD)
    asked, told = clients()
    coordinate(folder, asked, rounds=5, watcher=Watcher(stop_after=2), changes=SCAFFOLD)
    resumed = coordinate(folder, asked, rounds=5, changes=SCAFFOLD)
    for number, variate in whole.variates.items():
        for name, value in variate.items():
            np.testing.assert_array_equal(resumed.variates[number][name], value)
    assert len(told[0]) == 5


@pytest.mark.parametrize(("before", "after"), [("scaffold", "off"), ("off", "scaffold")])
def test_a_run_is_not_resumed_with_a_correction_that_it_did_not_begin_with(folder, before, after):
    asked = [MadeUpClient(number, 10, 1.0) for number in range(3)]
    begun = {"federation.drift-correction": before}
    coordinate(folder, asked, rounds=4, watcher=Watcher(stop_after=2), changes=begun)
    with pytest.raises(CheckpointError, match="federation.drift-correction = .* is not how .* began"):
        coordinate(folder, asked, rounds=4, changes={"federation.drift-correction": after})


def test_without_it_nothing_is_sent_or_kept(folder):
    asked, seen = [MadeUpClient(0, 10, 1.0)], []
    asked[0].change = lambda client, request, _: (
        seen.append(request.correction) or client.updated(request, client.update(request.arrays))
    )
    assert coordinate(folder, asked, rounds=2, changes={"federation.min-train-clients": 1}).variates is None
    assert seen == [None, None]


@pytest.mark.parametrize(
    "change", [{"training.optimizer": "adam"}, {"training.momentum": 0.5}, {"training.proximal-mu": 0.1}]
)
def test_only_updates_that_are_sums_of_gradients_tell_of_them(folder, change):
    with pytest.raises(ConfigError, match="takes a client's gradients off its update"):
        coordinate(folder, [], changes={**SCAFFOLD, **change})


def test_an_update_of_absurd_size_gives_a_finite_variate():
    drift = DriftCorrection.of({}, {0: 1.0}, {"w": np.float32([0.0])})
    after = drift.after(0, {"w": np.float32([-3e38])}, 1e-9)
    assert after["w"].tolist() == [np.float32(1e15)]


CURVATURES, CENTRES = (1.0, 4.0), (0.0, 1.0)


def settled(*, corrected: bool, steps: int = 5, rate: float = 0.1, times: int = 80) -> float:
    """Return where a weight ends that two clients pull to 0 and, four times as hard, to 1."""
    trainer = DPTrainer(
        model=nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False)),
        loss=lambda outputs, labels: (
            labels.float() * (outputs.squeeze(1) - (labels == CURVATURES[1]).float()).square() / 2
        ),
        optimizer=OptimizerSettings(name="sgd", learning_rate=rate),
        transform=lambda images, _: images.float()[:, :1, :1, :1] * 0 + 1,
    )
    data = [records(4), records(4)]
    for one, curvature in zip(data, CURVATURES, strict=True):
        one.labels.fill_(int(curvature))
    what = charge(4, rate=Fraction(1), steps=steps, sigma=None)
    arrays, known = {"1.weight": np.float32([[3.0]])}, {}
    for number in range(times):
        drift = DriftCorrection.of(known, {0: 1.0, 1: 1.0}, arrays)
        updates = {}
        for client in (0, 1):
            randomness = PrivateRandomness.reproducible(0, client, number)
            added = drift.for_client(client) if corrected else None
            updates[client] = trainer.fit(arrays, data[client], what, randomness, added).arrays
        known = {client: drift.after(client, update, steps * rate) for client, update in updates.items()}
        arrays = {"1.weight": arrays["1.weight"] + sum(u["1.weight"] for u in updates.values()) / 2}
    return float(arrays["1.weight"][0, 0])


def test_corrected_steps_settle_where_all_losses_together_are_least():
    least = sum(h * c for h, c in zip(CURVATURES, CENTRES, strict=True)) / sum(CURVATURES)
    # Five steps alone leave (1 - 0.1 h)^5 of a client's distance, and averages settle where those cancel.
    moved = [1 - (1 - 0.1 * h) ** 5 for h in CURVATURES]
    drifted = moved[1] / sum(moved)
    assert settled(corrected=False) == pytest.approx(drifted, abs=1e-5)
    assert abs(drifted - least) > 0.1
    assert settled(corrected=True) == pytest.approx(least, abs=1e-5)
