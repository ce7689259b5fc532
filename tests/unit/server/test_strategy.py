from __future__ import annotations

import numpy as np
import pytest

from common.config import resolve
from server.optimizers import Moments
from server.strategy import FedAvg

TEN = tuple(range(10))


def strategy(**settings) -> FedAvg:
    return FedAvg(resolve({key.replace("__", ".").replace("_", "-"): v for key, v in settings.items()}), TEN)


def test_everybody_is_asked_by_default():
    assert strategy().cohort(1) == list(TEN)


def test_a_cohort_is_sampled_from_the_seed_and_differs_between_rounds():
    first, again = strategy(federation__fraction_train=0.3), strategy(federation__fraction_train=0.3)
    cohorts = [first.cohort(number) for number in range(1, 30)]
    assert cohorts == [again.cohort(number) for number in range(1, 30)]
    assert all(len(set(cohort)) == 3 and cohort == sorted(cohort) for cohort in cohorts)
    assert len({tuple(cohort) for cohort in cohorts}) > 10
    other = strategy(federation__fraction_train=0.3, runtime__seed=1)
    assert cohorts != [other.cohort(number) for number in range(1, 30)]


def test_planned_rounds_are_exactly_the_rounds_in_which_a_client_is_asked():
    plan = strategy(federation__fraction_train=0.3, federation__num_server_rounds=20)
    for partition_id in TEN:
        asked = sum(partition_id in plan.cohort(number) for number in range(1, 21))
        assert plan.proposal(partition_id).planned_rounds == asked


def test_the_proposal_carries_fixed_noise_or_leaves_it_to_the_client():
    assert strategy().proposal(0).noise_multiplier is None
    assert strategy(privacy__noise_multiplier=1.5).proposal(0).noise_multiplier == 1.5


@pytest.mark.parametrize(("weighting", "weight"), [("examples", 120.0), ("uniform", 1.0)])
def test_weights_depend_on_public_numbers_only(weighting, weight):
    assert strategy(federation__weighting=weighting).weight(120) == weight


def test_server_momentum_by_hand():
    plan = strategy(federation__server_momentum=0.5)
    arrays, moments = {"w": np.float32([1.0])}, Moments(first={"w": np.float32([2.0])})
    model, moved = plan.next_model(arrays, moments, {"w": np.float32([3.0])})
    assert moved.first["w"].tolist() == [4.0]
    assert model["w"].tolist() == [5.0]
    assert arrays["w"].tolist() == [1.0]
