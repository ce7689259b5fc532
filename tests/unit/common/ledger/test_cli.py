from __future__ import annotations

import base64
import json

import pytest
import typer
from typer.testing import CliRunner

from common.errors import ConfigError, LedgerTampered
from common.ledger import Reserve, read_ledger
from common.ledger.cli import export, show, verify
from common.ledger.display import as_text
from common.ledger.keys import fingerprint
from common.privacy.mechanisms import Unprotected
from tests.vectors import make

EVERY_KIND = make.HERE / "every-kind.jsonl"


def run(*arguments: str):
    app = typer.Typer()
    app.command()(show)
    return CliRunner().invoke(app, list(arguments))


def use(*arguments: object):
    app = typer.Typer()
    app.command()(verify)
    app.command()(export)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


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


def test_every_kind_of_entry_is_told_in_words():
    text = as_text(read_ledger(EVERY_KIND))
    for words in (
        "budget epsilon 8 at delta 0.00001, fixed settings; now 90 examples, key 6a3803d5f059902a",
        "    0 GENESIS    budget epsilon 8 at delta 0.00001, fixed settings, 100 examples, data ",
        "    1 RESERVE    run 20260101-120000-folder round 1, train: poisson-gaussian noise multiplier 1.25 "
        "sample rate 1/5 steps 3; clip 1, normaliser 20, sampler poisson, noise chacha20; model ",
        "; dp-accounting 0.6.0 torch 2.14.1+cpu",
        "    2 RELEASE    run 20260101-120000-folder round 1, entry 1: update ",
        "    3 RECEIPT    entry 2 is leaf 1 of fedledger.server/",
        "gaussian noise multiplier 40 steps 2 and discrete-laplace noise multiplier 50 steps 10; clip 1",
        "    5 ABORT      run 20260101-120000-folder round 2, entry 4: out-of-memory; the charge stays",
        "    6 AMEND      now 90 examples, data ",
        "laplace noise multiplier 0.000001 steps 1; clip 0.1, normaliser 7/3, ",
        "    8 KEY_ROTATE from here on key 6a3803d5f059902a",
    ):
        assert words in text
    assert "no budget, delta 0.00001; now 100" in as_text(read_ledger(make.HERE / "without-privacy.jsonl"))
    assert "a filter at order 12.5" in as_text(read_ledger(make.HERE / "adaptive.jsonl"))


def test_json_tells_how_things_stand_now():
    record = json.loads(run(str(EVERY_KIND), "--json").stdout)
    assert record["num_examples"] == 90
    assert record["fingerprint"] == fingerprint(make.KEYS["second"].public)
    assert len(record["commitments"]) == 2
    assert record["unconfirmed"] == []
    assert [charge["type"] for charge in record["mechanisms"]] == [
        "poisson-gaussian",
        "gaussian",
        "discrete-laplace",
        "laplace",
        "poisson-gaussian",
    ]
    assert record["mechanisms"][3]["noise_multiplier"] == 1e-6


def test_an_error_names_the_file(filled, path):
    path.write_bytes(path.read_bytes().replace(b'"steps":3', b'"steps":1', 1))
    error = run(str(path)).exception
    assert str(error) == f"{path}: entry 1: its signature is not that of the ledger's key"
    assert (error.flaw, error.entry) == ("signature-wrong", 1)
    assert str(run(str(path.parent)).exception).startswith(
        f"{path.parent} is a folder: name one ledger in it"
    )


def test_verify_says_what_a_ledger_is_in_one_line(filled, path, key):
    result = use("verify", path)
    assert result.exit_code == 0
    assert result.stdout == (
        f"{path}: verified, 6 entries, n 100, 3 charges, 0 receipts, key {fingerprint(key.public)}, "
        f"head {filled.view.head}\n"
    )


def test_verify_tells_programs_the_same(filled, path, key):
    (record,) = json.loads(use("verify", path, "--json", "--expect-head", filled.view.entries[2].hash).stdout)
    assert record == {
        "file": str(path),
        "status": "verified",
        "ledger_id": filled.view.genesis.ledger_id,
        "entries": 6,
        "head": filled.view.head,
        "since_expected_head": 3,
        "public_key": base64.b64encode(key.public).decode(),
        "fingerprint": fingerprint(key.public),
        "num_examples": 100,
        "charges": 3,
        "receipts": 0,
        "unconfirmed": [2],
    }


def test_verify_of_a_damaged_ledger_names_flaw_entry_and_file(filled, path):
    path.write_bytes(path.read_bytes().replace(b'"steps":3', b'"steps":1', 1))
    result = use("verify", path)
    assert result.exit_code == 1
    assert result.stdout == (
        f"{path}: damaged, signature-wrong: entry 1: its signature is not that of the ledger's key\n"
    )
    (record,) = json.loads(use("verify", path, "--json").stdout)
    assert (record["status"], record["flaw"], record["entry"]) == ("damaged", "signature-wrong", 1)


def test_several_ledgers_have_a_line_each_and_the_worst_status(filled, path, tmp_path):
    torn, missing = tmp_path / "torn.jsonl", tmp_path / "missing.jsonl"
    torn.write_bytes(path.read_bytes()[:-1])
    assert use("verify", path, EVERY_KIND).exit_code == 0
    assert use("verify", torn, path).exit_code == 1
    result = use("verify", torn, path, missing)
    assert result.exit_code == 2
    first, second = result.stdout.splitlines()
    assert first == (
        f"{torn}: damaged, ledger-torn: does not end with a complete entry: "
        "it is empty, cut or was torn by a crash"
    )
    assert second.startswith(f"{path}: verified, ")
    assert result.stderr.startswith(f"fedledger: {missing} does not exist: name a ledger")
    records = json.loads(use("verify", torn, path, missing, "--json").stdout)
    assert [record["status"] for record in records] == ["damaged", "verified", "unreadable"]


@pytest.mark.parametrize("number", range(6))
def test_a_ledger_still_contains_every_head_that_it_had(filled, path, number):
    result = use("verify", path, "--expect-head", filled.view.entries[number].hash)
    assert result.exit_code == 0
    assert (f"6 entries, {5 - number} after the expected head," in result.stdout) == (number < 5)


def test_a_ledger_that_was_cut_back_lacks_the_expected_head(filled, path):
    head = filled.view.head
    path.write_bytes(path.read_bytes()[: -len(filled.view.lines[-1]) - 1])
    result = use("verify", path, "--expect-head", head)
    assert result.exit_code == 1
    assert result.stdout.startswith(
        f"{path}: damaged, head-missing: none of its 5 entries is the expected head {head}: "
        "it is an earlier state"
    )


def test_the_expected_key_is_one_that_signed():
    first, second, stranger = (make.KEYS[name].public for name in ("first", "second", "stranger"))
    for good in (first, second):
        for form in (fingerprint(good), base64.b64encode(good).decode()):
            assert use("verify", EVERY_KIND, "--expect-key", form).exit_code == 0
    for form in (fingerprint(stranger), base64.b64encode(stranger).decode()):
        result = use("verify", EVERY_KIND, "--expect-key", form)
        assert result.exit_code == 1
        assert "damaged, key-unexpected: it is signed by the key 6a3803d5f059902a" in result.stdout


@pytest.mark.parametrize(
    "expected",
    [["--expect-head", "abc"], ["--expect-head", "A" * 64], ["--expect-key", "mine"], ["--expect-key", ""]],
)
def test_what_cannot_be_expected_is_refused(filled, path, expected):
    error = use("verify", path, *expected).exception
    assert isinstance(error, ConfigError)
    assert expected[0] in str(error)


def test_one_expectation_is_not_for_two_ledgers(filled, path):
    with pytest.raises(ConfigError, match="name one file"):
        verify([path, EVERY_KIND], expect_head=filled.view.head)


def test_an_export_goes_to_the_screen_or_into_a_new_file(path, filled, tmp_path):
    shown = use("export", path, "--to", "csv")
    assert shown.exit_code == 0
    place = tmp_path / "charges.csv"
    assert use("export", path, "--to", "csv", "--out", place).stdout == ""
    assert place.read_text() == shown.stdout
    place.write_text("precious")
    error = use("export", path, "--to", "csv", "--out", place).exception
    assert str(error) == f"{place} exists already: choose another --out"
    assert place.read_text() == "precious"
    error = use("export", path, "--to", "csv", "--out", place / "inside").exception
    assert str(error) == f"{place / 'inside'} cannot be written (Not a directory): choose another --out"


def test_nothing_is_exported_of_a_damaged_ledger(filled, path, tmp_path):
    path.write_bytes(path.read_bytes().replace(b'"steps":3', b'"steps":1', 1))
    for form in ("csv", "json", "events"):
        result = use("export", path, "--to", form, "--out", tmp_path / "out")
        assert isinstance(result.exception, LedgerTampered)
    assert not (tmp_path / "out").exists()


def test_a_file_name_cannot_rewrite_the_terminal(filled, path):
    odd = path.with_name("odd\x1b[2J\n.jsonl")
    path.rename(odd)
    out = use("verify", odd).stdout
    assert "\x1b" not in out
    assert out.count("\n") == 1
