from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.arrays import from_bytes
from common.errors import CheckpointError
from common.protocol import Refusal
from common.run_folder import RunFolder
from server.checkpoint import forget_unfinished, load_state, record_round, save_state
from server.state import KnownLedger, RoundOutcome, RunState

STATE = RunState(
    run="abc",
    round=3,
    arrays={"w": np.float32([1, 2]), "b": np.float32([[3]])},
    velocity={"w": np.float32([4, 5]), "b": np.float32([[6]])},
    retired={7: Refusal(partition_id=7, code="budget-exhausted", reason="spent")},
)


def outcome(number: int) -> RoundOutcome:
    return RoundOutcome(
        round=number,
        updates={2: "u2", 0: "u0"},
        refused=(Refusal(partition_id=1, code="message", reason="odd"),),
        input_model="before",
        model="after",
        metrics={"accuracy": 0.5, "loss": 1.25},
        seconds=0.12345,
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_a_state_round_trips(folder):
    save_state(folder, replace(STATE, ended="enough"))
    read = load_state(folder)
    assert (read.run, read.round, read.retired, read.ended) == ("abc", 3, STATE.retired, "enough")
    for name in STATE.arrays:
        np.testing.assert_array_equal(read.arrays[name], STATE.arrays[name])
        np.testing.assert_array_equal(read.velocity[name], STATE.velocity[name])


def test_an_average_round_trips_and_is_the_model_that_a_run_gives(folder):
    average = {"w": np.float32([0.1, 7]), "b": np.float32([[-3]])}
    folder.root.mkdir()
    record_round(folder, replace(STATE, average=average), replace(outcome(3), average_model="mean"), {})
    read = load_state(folder)
    kept = from_bytes(folder.model.read_bytes())
    for name, value in average.items():
        np.testing.assert_array_equal(read.average[name], value)
        np.testing.assert_array_equal(read.arrays[name], STATE.arrays[name])
        np.testing.assert_array_equal(kept[name], value)
    line = json.loads(folder.rounds.read_text())
    assert (line["model"], line["average_model"]) == ("after", "mean")


@pytest.mark.parametrize("numbers", [(), (1,), (1, 11)])
def test_control_variates_round_trip(folder, numbers):
    variates = {n: {"w": np.float32([n, 0.1]), "b": np.float32([[-n]])} for n in numbers}
    save_state(folder, replace(STATE, variates=variates))
    read = load_state(folder).variates
    assert read.keys() == variates.keys()
    for number, variate in variates.items():
        for name, value in variate.items():
            np.testing.assert_array_equal(read[number][name], value)
    save_state(folder, STATE)
    assert load_state(folder).variates is None


def test_a_run_without_an_average_has_none_after_a_checkpoint(folder):
    save_state(folder, STATE)
    assert load_state(folder).average is None


def test_only_the_last_checkpoints_arrays_are_kept(folder):
    for number in (1, 2, 3):
        save_state(folder, replace(STATE, round=number))
    assert [path.name for path in folder.checkpoint.glob("*.safetensors")] == ["round-000003.safetensors"]


def test_a_round_is_one_line_and_the_model_can_be_read_without_us(folder):
    folder.root.mkdir()
    record_round(folder, STATE, outcome(3), {"accuracy": 0.5})
    (line,) = folder.rounds.read_text().splitlines()
    assert json.loads(line) == {
        "round": 3,
        "accuracy": 0.5,
        "loss": 1.25,
        "participants": [0, 2],
        "refused": [{"partition_id": 1, "code": "message", "reason": "odd"}],
        "seconds": 0.123,
        "input_model": "before",
        "model": "after",
        "updates": {"0": "u0", "2": "u2"},
    }
    assert set(from_bytes(folder.model.read_bytes())) == {"w", "b"}
    assert json.loads(folder.evaluation.read_text()) == {"round": 3, "accuracy": 0.5}


def test_lines_of_rounds_after_the_checkpoint_are_cut_even_if_torn(folder):
    folder.root.mkdir()
    folder.rounds.write_text('{"round": 1}\n{"round": 2}\n{"rou')
    forget_unfinished(folder, 1)
    assert folder.rounds.read_text() == '{"round": 1}\n'


def test_without_a_checkpoint_the_way_out_is_named(folder):
    with pytest.raises(CheckpointError, match="holds no checkpoint: start a new run"):
        load_state(folder)


def test_a_changed_byte_is_found(folder):
    save_state(folder, STATE)
    path = folder.checkpoint / "round-000003.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "cannot be read"), ('{"schema": "other/9"}', "not of schema"), ("[]", "not of schema")],
)
def test_a_foreign_state_file_is_refused(folder, content, reason):
    folder.checkpoint.mkdir(parents=True)
    (folder.checkpoint / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match=reason):
        load_state(folder)


def test_a_missing_arrays_file_is_named(folder):
    save_state(folder, STATE)
    (folder.checkpoint / "round-000003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="round-000003.safetensors is missing"):
        load_state(folder)


@pytest.mark.parametrize("key", ["run", "round", "ended", "arrays", "sha256", "retired", "ledgers"])
def test_a_state_file_without_a_field_is_refused(folder, key):
    save_state(folder, STATE)
    path = folder.checkpoint / "state.json"
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=f"is damaged \\({key} is missing or odd\\)"):
        load_state(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("round", -1), ("round", "x"), ("arrays", "../model.safetensors"), ("retired", [{"x": 1}])],
)
def test_a_state_file_with_an_odd_field_is_refused(folder, key, value):
    save_state(folder, STATE)
    path = folder.checkpoint / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=f"is damaged \\({key}"):
        load_state(folder)


def test_what_was_seen_of_each_ledger_is_kept(folder):
    known = {4: KnownLedger(entries=7, head="abc")}
    save_state(folder, replace(STATE, known=known))
    assert load_state(folder).known == known


def test_lines_of_finished_rounds_must_be_there(folder):
    folder.root.mkdir()
    folder.rounds.write_text('{"round": 1}\n')
    with pytest.raises(CheckpointError, match="holds 1 of the 2 rounds that are done"):
        forget_unfinished(folder, 2)
    assert folder.rounds.read_text() == '{"round": 1}\n'


def test_lines_that_are_no_text_are_refused(folder):
    folder.root.mkdir()
    folder.rounds.write_bytes(b"\xff\n")
    with pytest.raises(CheckpointError, match="cannot be read"):
        forget_unfinished(folder, 1)
