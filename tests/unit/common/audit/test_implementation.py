"""What computed, as the ledgers recorded it."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from pathlib import Path

from common.audit.history import client_ledgers
from common.audit.implementation import (
    accounting_report,
    auditing_code_digest,
    library_versions,
    mechanism_report,
)
from common.audit.records import read_run
from common.ledger import Reserve
from common.privacy.mechanisms import DiscreteLaplace, Mechanism, Unprotected
from tests.run_folders import LIBRARIES, RunPlan, charge, sha256, write_run


def _with(*mechanisms: Mechanism) -> RunPlan:
    def change(body: Reserve, _: int) -> Reserve:
        return dataclasses.replace(body, mechanisms=mechanisms, code_digest=sha256("other code"))

    return RunPlan(change=change)


def test_every_kind_of_noise_is_named_once_and_training_without_noise_has_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    charge(folder, 0, 4, _with(DiscreteLaplace(noise_multiplier=7.0, num_steps=1)))
    charge(folder, 0, 5, _with(Unprotected(num_steps=3)))
    report = mechanism_report(client_ledgers(read_run(folder.root)))
    assert (report.noise_multipliers, report.sample_rates) == ((2.0, 7.0), ("1/5",))
    assert (report.steps_per_round, report.max_grad_norms, report.normalisers) == ((1, 2, 3), ("1",), ("10",))
    assert report.code_digests == tuple(sorted([sha256("code"), sha256("other code")]))


def test_the_accountant_is_named_with_its_version() -> None:
    report = accounting_report()
    assert (report.library, report.version) == ("dp-accounting", version("dp-accounting"))
    assert report.neighbouring_relation == "REPLACE_SPECIAL"


def test_versions_are_those_that_trained_and_those_that_audit(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    older = RunPlan(change=lambda body, _: dataclasses.replace(body, libraries={"torch": "2.9.0"}))
    charge(folder, 0, 4, older)
    versions = library_versions(client_ledgers(read_run(folder.root)))
    assert versions["torch"] == "2.14.1, 2.9.0"
    assert versions["flwr"] == LIBRARIES["flwr"]
    assert versions["dp-accounting"] == version("dp-accounting")


def test_the_code_has_one_digest() -> None:
    digest = auditing_code_digest()
    assert (len(digest), digest) == (64, auditing_code_digest())
