from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from common.errors import LedgerTampered
from common.ledger import Reserve
from common.ledger.cli import show
from common.ledger.display import as_text
from common.privacy.mechanisms import Unprotected


def run(*arguments: str):
    app = typer.Typer()
    app.command()(show)
    return CliRunner().invoke(app, list(arguments))


def test_json_has_facts_charges_and_raw_entries(filled, path):
    record = json.loads(run(str(path), "--json").stdout)
    assert record["num_examples"] == 100
    assert record["delta"] == 1e-5
    assert record["budget"] == 8.0
    assert record["head"] == filled.view.head
    assert record["ledger_id"] == filled.view.genesis.ledger_id
    assert [(charge["run"], charge["round"]) for charge in record["mechanisms"]] == [
        ("run-1", 1),
        ("run-1", 2),
        ("run-2", 1),
    ]
    assert record["mechanisms"][0] == {
        "type": "poisson-gaussian",
        "noise_multiplier": 1.25,
        "sample_rate": [1, 5],
        "steps": 3,
        "run": "run-1",
        "round": 1,
    }
    assert record["entries"] == [json.loads(line)["entry"] for line in filled.view.lines]


def test_training_without_noise_is_shown_as_such(ledger, path, reserve):
    body = reserve()
    fields = {name: getattr(body, name) for name in body.__dataclass_fields__}
    ledger.append(Reserve(**fields | {"mechanisms": (Unprotected(num_steps=4),), "max_grad_norm": None}))
    record = json.loads(run(str(path), "--json").stdout)
    assert record["mechanisms"] == [{"type": "unprotected", "steps": 4, "run": "run-1", "round": 1}]


def test_text_has_one_line_an_entry(filled):
    lines = as_text(filled.view).splitlines()
    assert lines[0] == f"6 entries, all verified; head {filled.view.head}"
    assert [line.split()[1] for line in lines[2:]] == [
        "GENESIS",
        "RESERVE",
        "RELEASE",
        "RESERVE",
        "ABORT",
        "RESERVE",
    ]
    assert lines[6].endswith("entry 3: out-of-memory; the charge stays")


def test_a_tampered_ledger_is_not_shown(filled, path):
    path.write_bytes(path.read_bytes().replace(b'"steps":3', b'"steps":1', 1))
    result = run(str(path))
    assert isinstance(result.exception, LedgerTampered)
    assert "RESERVE" not in result.stdout


def test_show_changes_nothing(filled, path):
    before = path.read_bytes()
    run(str(path))
    assert path.read_bytes() == before
    path.write_bytes(before[:-1])
    with pytest.raises(LedgerTampered):
        show(path, as_json=True)
    assert path.read_bytes() == before[:-1]
