"""Spending taken apart by run and by mechanism."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from pathlib import Path

import pytest

from common.audit.breakdown import Breakdown, break_down, most_spent
from common.audit.history import client_ledgers
from common.audit.records import read_run
from common.ledger import Reserve
from common.privacy.accounting import epsilon_pld
from common.privacy.mechanisms import PoissonGaussian, Unprotected
from tests.run_folders import RunPlan, charge, charge_and_release, write_run


def _gaussian(steps: int, sigma: float = 2.0) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=Fraction(1, 5), num_steps=steps)


def _break_down(root: Path) -> Breakdown:
    ledgers = client_ledgers(read_run(root))
    return break_down(ledgers, [epsilon_pld(ledger.mechanisms(), 1e-5) for ledger in ledgers])


def test_a_single_run_with_one_mechanism_costs_exactly_the_whole(tmp_path: Path) -> None:
    breakdown = _break_down(write_run(tmp_path, RunPlan()).root)
    assert breakdown.epsilon == epsilon_pld([_gaussian(6)], 1e-5)
    (run,), (mechanism,) = breakdown.runs, breakdown.mechanisms
    assert (run.run, run.charges, run.rounds, run.steps, run.epsilon) == ("run-1", 3, 3, 6, breakdown.epsilon)
    assert (mechanism.purpose, mechanism.mechanism) == ("train", "poisson-gaussian")
    assert (mechanism.noise_multiplier, mechanism.sample_rate) == ("2", "1/5")
    assert (mechanism.charges, mechanism.steps, mechanism.epsilon) == (3, 6, breakdown.epsilon)


def test_the_client_that_spent_most_is_taken_apart(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    charge_and_release(folder, 1, 1, RunPlan(), run="run-2")
    breakdown = _break_down(folder.root)
    assert breakdown.partition_id == 1
    assert [run.run for run in breakdown.runs] == ["run-1", "run-2"]


def test_parts_cost_what_they_would_cost_alone_and_do_not_add_up(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    for number in range(1, 4):
        charge_and_release(folder, 0, number, RunPlan(noise_multiplier=1.5), run="run-2")
    breakdown = _break_down(folder.root)
    alone = [epsilon_pld([_gaussian(6)], 1e-5), epsilon_pld([_gaussian(6, 1.5)], 1e-5)]
    for parts in (breakdown.runs, breakdown.mechanisms):
        assert [part.epsilon for part in parts] == pytest.approx(alone, rel=5e-4)
        assert all(part.epsilon >= exact for part, exact in zip(parts, alone, strict=True))
    assert max(alone) < breakdown.epsilon < sum(alone) - 0.5


def test_the_same_mechanism_in_two_runs_is_one_mechanism_and_two_purposes_are_two(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    charge_and_release(folder, 0, 1, RunPlan(), run="run-2")

    def evaluate(body: Reserve, _: int) -> Reserve:
        return dataclasses.replace(body, purpose="evaluate")

    charge_and_release(folder, 0, 2, RunPlan(change=evaluate), run="run-2")
    breakdown = _break_down(folder.root)
    assert [(part.purpose, part.charges) for part in breakdown.mechanisms] == [("train", 4), ("evaluate", 1)]


def test_repeated_attempts_at_a_round_are_charges_of_one_round(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1, rounds=1))
    charge(folder, 0, 1, RunPlan())
    (run,) = _break_down(folder.root).runs
    assert (run.charges, run.rounds) == (2, 1)


def test_training_without_noise_has_no_limit_alone_or_together(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))

    def bare(body: Reserve, _: int) -> Reserve:
        return dataclasses.replace(body, mechanisms=(Unprotected(num_steps=2),))

    charge_and_release(folder, 0, 4, RunPlan(change=bare), run="run-2")
    breakdown = _break_down(folder.root)
    assert (breakdown.epsilon, breakdown.runs[1].epsilon) == (math.inf, math.inf)
    assert math.isfinite(breakdown.runs[0].epsilon)
    assert (breakdown.mechanisms[1].noise_multiplier, breakdown.mechanisms[1].sample_rate) == (None, None)


def test_without_a_ledger_there_is_nothing_to_take_apart() -> None:
    assert break_down([], []) == Breakdown(partition_id=None, epsilon=0.0, runs=(), mechanisms=())


def test_of_equal_epsilons_the_first_client_is_taken() -> None:
    assert (most_spent([1.0, 2.0, 2.0]), most_spent([math.inf, 1.0]), most_spent([])) == (1, 0, None)
