"""Reading a run folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from common.audit.records import read_run
from common.errors import CheckpointError
from tests.run_folders import RunPlan, model_text, write_run


def test_everything_is_read(tmp_path: Path) -> None:
    records = read_run(write_run(tmp_path, RunPlan()).root)
    assert [entry.round for entry in records.rounds] == [1, 2, 3]
    assert sorted(records.rounds[0].updates) == [0, 1]
    assert sorted(records.ledgers) == [0, 1]
    assert records.config.privacy.epsilon == 8.0
    assert records.model_hash == hashlib.sha256(model_text(3).encode()).hexdigest()
    assert records.evaluation is not None
    assert records.evaluation.per_class[0].name == "circle"
    assert records.partitions is not None
    assert records.partitions.counts == ((10, 40), (10, 40))


def test_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    for file in (folder.model, folder.evaluation, folder.partitions):
        file.unlink()
    records = read_run(folder.root)
    assert (records.model_hash, records.evaluation, records.partitions) == (None, None, None)


def test_files_of_other_names_are_set_aside(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    for name in ("client-01.jsonl", "client-x.jsonl", "notes.jsonl"):
        (folder.root / "ledgers" / name).write_text("", encoding="utf-8")
    records = read_run(folder.root)
    assert sorted(records.ledgers) == [0]
    assert records.stray_ledgers == (
        "ledgers/client-01.jsonl",
        "ledgers/client-x.jsonl",
        "ledgers/notes.jsonl",
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a run folder"):
        read_run(tmp_path / "nowhere")


def test_no_ledgers(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    folder.ledger(0).unlink()
    with pytest.raises(CheckpointError, match="holds no ledger"):
        read_run(folder.root)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rounds", '{"round": 1', "rounds.jsonl line 1 is not JSON"),
        ("rounds", '{"round": 0}', "rounds.jsonl line 1: round is not what a run writes"),
        ("rounds", "[]", "the whole is not what a run writes"),
        ("evaluation", "{}", "evaluation.json: round is not"),
        ("config", "privacy = [", "settings cannot be read"),
        ("config", "[privacy]\nepsilon = -1.0", "settings cannot be read: privacy.epsilon"),
    ],
)
def test_a_file_that_no_run_wrote_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    getattr(folder, name).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        read_run(folder.root)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    folder.rounds.write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_run(folder.root)
