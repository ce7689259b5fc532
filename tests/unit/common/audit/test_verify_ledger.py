"""Each way in which a ledger can leave its settings or break a rule has its own finding."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from common.audit import Finding, inspect_run
from common.audit.history import client_ledgers
from common.audit.records import read_run
from common.audit.spending import Spent
from common.audit.verify_ledger import check_spending
from common.ledger import Amend, Reserve
from common.privacy.mechanisms import PoissonGaussian, Unprotected
from tests.run_folders import RunPlan, charge_and_release, open_ledger, sha256, write_run


def _findings(tmp_path: Path, **plan: Any) -> list[Finding]:
    return list(inspect_run(write_run(tmp_path, RunPlan(clients=1, rounds=2, **plan)).root).findings)


def _gaussian(sigma: float = 2.0, rate: Fraction = Fraction(1, 5), steps: int = 2) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, num_steps=steps)


CHARGES: list[tuple[dict[str, Any], list[str]]] = [
    ({"mechanisms": (_gaussian(steps=3),)}, ["steps-differ"]),
    (
        {"mechanisms": (_gaussian(rate=Fraction(1, 10)),), "normaliser": Fraction(5)},
        ["sample-rate-differs"],
    ),
    ({"normaliser": Fraction(9)}, ["normaliser-differs"]),
    ({"max_grad_norm": 2.0}, ["clip-differs"]),
    ({"max_grad_norm": None}, ["clip-missing"]),
    ({"sampler": "shuffle"}, ["sampler-not-poisson"]),
    ({"noise_source": "reproducible"}, ["noise-source-differs"]),
    ({"noise_source": "none"}, ["noise-missing", "noise-source-differs"]),
    (
        {"mechanisms": (Unprotected(num_steps=2),), "noise_source": "none", "max_grad_norm": None},
        ["protection-differs", "budget-exceeded"],
    ),
]


@pytest.mark.parametrize(("changes", "codes"), CHARGES)
def test_a_charge_that_breaks_a_rule_or_a_setting(
    tmp_path: Path, changes: dict[str, Any], codes: list[str]
) -> None:
    findings = _findings(tmp_path, change=lambda body, _: dataclasses.replace(body, **changes))
    assert [finding.code for finding in findings] == codes
    assert {finding.severity for finding in findings} == {"error"}
    assert findings[0].where == "ledgers/client-0.jsonl entry 1"


def test_only_the_charge_that_differs_is_named(tmp_path: Path) -> None:
    def change(body: Reserve, _: int) -> Reserve:
        return dataclasses.replace(body, max_grad_norm=float(body.round))

    (finding,) = _findings(tmp_path, change=change)
    assert finding.where == "ledgers/client-0.jsonl entry 4"
    assert finding.message == "Client 0 recorded the clipping bound 2.0, but the settings say 1.0."


def test_a_fixed_noise_multiplier_must_be_the_recorded_one(tmp_path: Path) -> None:
    fixed = {"privacy.noise-multiplier": 2.0}
    assert _findings(tmp_path / "same", settings=fixed) == []
    (finding,) = _findings(tmp_path / "less", settings=fixed, noise_multiplier=1.9)
    assert finding.code == "noise-multiplier-differs"
    assert _findings(tmp_path / "auto", noise_multiplier=1.9) == []


def test_batch_size_and_epochs_are_translated(tmp_path: Path) -> None:
    settings = {"training.batch-size": 10, "training.sample-rate": "off"}
    assert _findings(tmp_path / "batch", settings=settings) == []
    settings |= {"training.batch-size": 12}
    (finding,) = _findings(tmp_path / "wrong", settings=settings)
    assert "1/5, but the settings say 6/25" in finding.message
    epochs = {"training.local-epochs": 1, "training.local-steps": "off"}
    (finding,) = _findings(tmp_path / "epochs", settings=epochs)
    assert finding.message == "Client 0 recorded the steps a round 2, but the settings say 5."


@pytest.mark.parametrize(
    ("genesis", "settings", "codes"),
    [
        ({"delta": 0.021}, {"privacy.delta": 0.021}, [("delta-too-large", "error")]),
        ({"delta": 0.003}, {"privacy.delta": 0.003}, [("delta-large", "note")]),
        ({"delta": 0.02}, {"privacy.delta": 0.02}, [("delta-large", "note")]),
        ({"delta": 0.002}, {"privacy.delta": 0.002}, []),
        ({"delta": 1e-6}, {}, [("delta-differs", "error")]),
        ({"budget_epsilon": 9.0}, {}, [("budget-differs", "error")]),
        ({"budget_epsilon": 7.0}, {}, [("budget-differs", "warning")]),
        ({"budget_epsilon": None}, {}, [("budget-differs", "error")]),
    ],
)
def test_the_terms_of_a_ledger(
    tmp_path: Path, genesis: dict[str, Any], settings: dict[str, Any], codes: list[tuple[str, str]]
) -> None:
    findings = _findings(tmp_path, genesis=genesis, settings=settings)
    assert [(finding.code, finding.severity) for finding in findings] == codes


@pytest.mark.parametrize(
    ("genesis", "codes"),
    [
        ({"delta": 1e-6}, [("delta-differs", "warning")]),
        ({"budget_epsilon": 9.0}, [("budget-differs", "warning")]),
        ({"budget_epsilon": None}, [("budget-differs", "error")]),
    ],
)
def test_a_real_sites_terms_are_its_own(
    tmp_path: Path, genesis: dict[str, Any], codes: list[tuple[str, str]]
) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1, rounds=2, genesis=genesis))
    folder.partitions.unlink()  # who holds what is known to a simulation alone
    findings = inspect_run(folder.root).findings
    assert [(finding.code, finding.severity) for finding in findings] == codes


def test_a_client_that_states_another_size_than_it_was_given(tmp_path: Path) -> None:
    def change(body: Reserve, _: int) -> Reserve:
        return dataclasses.replace(body, normaliser=Fraction(60, 5))

    (finding,) = _findings(tmp_path, genesis={"num_examples": 60}, change=change)
    assert (finding.code, finding.message) == ("size-differs", "Client 0 states 60 images, but was given 50.")


def test_the_size_that_counts_is_that_of_the_run(tmp_path: Path) -> None:
    plan = RunPlan(clients=1, rounds=2)
    folder = write_run(tmp_path, plan)
    ledger = open_ledger(folder, 0, plan)
    ledger.append(Amend(num_examples=60, commitment=sha256("more records")))
    larger = RunPlan(change=lambda body, _: dataclasses.replace(body, normaliser=Fraction(60, 5)))
    charge_and_release(folder, 0, 1, larger, run="run-2")
    assert {finding.code for finding in inspect_run(folder.root).findings} == {"amended", "other-runs"}
    charge_and_release(folder, 0, 2, plan, run="run-2")
    (finding,) = [f for f in inspect_run(folder.root).findings if f.severity == "error"]
    assert (finding.code, finding.where) == ("normaliser-differs", "ledgers/client-0.jsonl entry 11")


def test_delta_is_held_against_the_largest_size_ever(tmp_path: Path) -> None:
    plan = RunPlan(clients=1, genesis={"delta": 0.002}, settings={"privacy.delta": 0.002})
    folder = write_run(tmp_path, plan)
    for size in (600, 10):
        open_ledger(folder, 0, plan).append(Amend(num_examples=size, commitment=sha256(f"{size} records")))
    errors = [f for f in inspect_run(folder.root).findings if f.severity == "error"]
    assert [(finding.code, finding.where) for finding in errors] == [
        ("delta-too-large", "ledgers/client-0.jsonl entry 10")
    ]


def test_two_calculations_that_differ_the_wrong_way_are_a_warning(tmp_path: Path) -> None:
    records = read_run(write_run(tmp_path, RunPlan(clients=1, rounds=1)).root)
    (ledger,) = client_ledgers(records)

    def found(epsilon: float, rdp: float | None) -> list[str]:
        cost = Spent(epsilon=epsilon, epsilon_rdp=rdp, epsilon_unamplified=9.0, exact=True)
        return [finding.code for finding in check_spending(ledger, cost)]

    assert found(4.0, 4.4) == found(4.0, None) == found(4.0, 3.9) == []
    assert found(4.0, 3.5) == ["accountants-disagree"]
    assert found(8.1, 9.0) == ["budget-exceeded"]
    assert found(8.0, 9.0) == []
