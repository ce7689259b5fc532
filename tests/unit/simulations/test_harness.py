"""Whole federations in one process: files, resuming, and the same bits however they are run."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from common.config import read_toml, resolve
from common.data.shares import shares_of, split_of
from common.errors import CheckpointError, ConfigError, DataError
from common.ledger import Reserve, read_ledger
from common.new_run import settings_of
from server.observer import OBSERVER
from simulations.harness import Simulation, resume, simulate
from tests.small_federation import Watcher

REPEATABLE = {"privacy.reproducible-noise": True}


class StoppedAtOnce(Watcher):
    """As after Ctrl-C while the clients join."""

    stop_requested = True


def rounds(root: Path) -> list[dict]:
    """Return the lines of rounds.jsonl without what time alone decides."""
    lines = [json.loads(line) for line in (root / "rounds.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def reservations(root: Path, partition_id: int) -> list[Reserve]:
    return list(read_ledger(root / "ledgers" / f"client-{partition_id}.jsonl").reservations())


def root_of(simulation: Simulation) -> Path:
    return simulation.folder.root


def test_a_run_leaves_everything_that_the_audit_needs(tiny_settings):
    config = tiny_settings()
    watcher = Watcher()
    simulation = simulate(config, observer=watcher)
    root = root_of(simulation)
    assert {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} == {
        "config.toml",
        "rounds.jsonl",
        "model.safetensors",
        "evaluation.json",
        "partitions.json",
        "report.json",
        "report.html",
        "checkpoint/state.json",
        "checkpoint/round-000003.safetensors",
        "keys/client-0.key",
        "keys/client-1.key",
        "keys/client-0.salt",
        "keys/client-1.salt",
        "keys/server.key",
        "server/log.jsonl",
        "server/checkpoint",
        "server/key.pub",
        "ledgers/client-0.jsonl",
        "ledgers/client-1.jsonl",
    }
    assert resolve(read_toml(root / "config.toml")) == config
    assert [outcome.round for outcome in watcher.outcomes] == [1, 2, 3]
    assert watcher.ending == simulation.state.ended == "all 3 rounds are done"
    assert simulation.report.verified
    assert simulation.report.private
    assert simulation.report.findings == ()
    assert OBSERVER.get(None) is None


def test_without_an_observer_each_round_is_logged(tiny_settings, caplog):
    with caplog.at_level(logging.INFO, logger="fedledger.server"):
        simulate(tiny_settings())
    assert sum(message.startswith("round ") for message in caplog.messages) == 3


def test_the_simulator_writes_down_who_holds_what(tiny_settings):
    config = tiny_settings(changes={"data.partitioner": "dirichlet", "federation.num-clients": 3})
    record = json.loads((root_of(simulate(config)) / "partitions.json").read_text())
    labels = split_of(config).train.labels.numpy()
    counts = [[int((labels[share] == label).sum()) for label in (0, 1)] for share in shares_of(config)]
    assert record["counts"] == counts
    assert sum(map(sum, counts)) == 48
    assert record["classes"] == ["cat", "dog"]
    assert "48 training images of 2 classes" in record["dataset"]


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_changes_no_bit(tiny_settings, workers):
    changes = REPEATABLE | {
        "federation.num-clients": 5,
        "federation.fraction-train": 0.8,
        "data.partitioner": "dirichlet",
        "data.augmentation": "flip-crop",
        "training.local-steps": 2,
    }
    one = root_of(simulate(tiny_settings("one", changes)))
    many = root_of(simulate(tiny_settings("many", changes | {"runtime.workers": workers})))
    assert (many / "model.safetensors").read_bytes() == (one / "model.safetensors").read_bytes()
    assert rounds(many) == rounds(one)
    assert (many / "evaluation.json").read_text() == (one / "evaluation.json").read_text()
    for partition_id in range(5):
        charged = [[body.mechanisms for body in reservations(root, partition_id)] for root in (one, many)]
        assert charged[0] == charged[1]


def test_fresh_noise_never_gives_the_same_bits(tiny_settings):
    one, other = (root_of(simulate(tiny_settings(out))) for out in ("one", "other"))
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_the_seed_changes_the_run(tiny_settings):
    one = root_of(simulate(tiny_settings("one", REPEATABLE)))
    other = root_of(simulate(tiny_settings("other", REPEATABLE | {"runtime.seed": 1})))
    assert rounds(one)[0]["input_model"] != rounds(other)[0]["input_model"]


def test_a_stopped_run_goes_on_elsewhere_with_other_workers(tiny_settings, tmp_path):
    whole = root_of(simulate(tiny_settings("whole", REPEATABLE)))
    stopped = simulate(tiny_settings("stopped", REPEATABLE), observer=Watcher(stop_after=1))
    assert stopped.state.ended == "stopped after round 1; it can be resumed"
    moved = tmp_path / "elsewhere"
    shutil.move(root_of(stopped), moved)
    resumed = resume(moved, settings={"runtime.workers": 2})
    assert resumed.state.ended == "all 3 rounds are done"
    assert resumed.report.verified
    assert (moved / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert rounds(moved) == rounds(whole)
    assert [body.run for body in reservations(moved, 0)] == 3 * [stopped.state.run]


def test_a_run_stopped_before_its_first_round_is_a_run_that_spent_nothing(tiny_settings):
    stopped = simulate(tiny_settings(), observer=StoppedAtOnce())
    assert stopped.state.round == 0
    assert stopped.report.verified
    assert stopped.report.epsilon == 0.0
    assert [client.rounds for client in stopped.report.clients] == [0, 0]
    finished = resume(root_of(stopped))
    assert finished.state.round == 3
    assert finished.report.verified


def test_a_finished_run_resumed_changes_nothing(tiny_settings):
    root = root_of(simulate(tiny_settings()))
    before = {path: path.read_bytes() for path in root.rglob("*.jsonl")}
    model = (root / "model.safetensors").read_bytes()
    again = resume(root)
    assert again.state.ended == "all 3 rounds are done"
    assert {path: path.read_bytes() for path in root.rglob("*.jsonl")} == before
    assert (root / "model.safetensors").read_bytes() == model


def test_what_is_no_run_folder_cannot_be_resumed(tmp_path):
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CheckpointError, match="is not a run folder"):
            resume(root)


def test_a_folder_that_holds_something_is_not_a_new_runs(tiny_settings, tmp_path):
    config = tiny_settings()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty: choose a folder"):
        simulate(config)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file: choose a folder"):
        simulate(tiny_settings("file"))


def test_an_empty_folder_is_a_new_runs(tiny_settings, tmp_path):
    (tmp_path / "run").mkdir()
    assert simulate(tiny_settings()).report.verified


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"privacy.delta": 0.5}, ConfigError),
        ({"runtime.device": "cuda:99"}, ConfigError),
        ({"model.name": "resnet"}, ConfigError),
        ({"data.data-dir": "/nowhere"}, DataError),
        ({"federation.num-clients": 20, "data.min-partition-size": 10}, DataError),
    ],
)
def test_what_every_client_would_refuse_is_found_before_anything_is_written(
    tiny_settings, tmp_path, changes, error
):
    with pytest.raises(error):
        simulate(tiny_settings(changes=changes))
    assert not (tmp_path / "run").exists()


def test_settings_are_those_of_the_folder_wherever_it_lies(tiny_settings, tmp_path):
    root = root_of(simulate(tiny_settings(changes={"training.local-steps": 2}), observer=Watcher()))
    shutil.move(root, tmp_path / "moved")
    config = settings_of(tmp_path / "moved", {"runtime.workers": 3})
    assert config.training.local_steps == 2
    assert config.runtime.workers == 3
    assert config.runtime.out == str(tmp_path / "moved")


def test_a_run_without_privacy_says_so(tiny_settings):
    simulation = simulate(tiny_settings(changes={"privacy.enabled": False}))
    assert simulation.report.stamp == "NOT PRIVATE"
    assert not simulation.report.private
    assert simulation.report.epsilon == float("inf")


def test_reproducible_noise_is_stamped(tiny_settings):
    simulation = simulate(tiny_settings(changes=REPEATABLE))
    assert simulation.report.stamp == "NOT PRIVATE: REPRODUCIBLE NOISE"
    assert {body.noise_source for body in reservations(root_of(simulation), 0)} == {"reproducible"}


def test_two_runs_in_one_process_do_not_share_ledgers(tiny_settings):
    for out in ("one", "two"):
        root = root_of(simulate(tiny_settings(out)))
        assert len(reservations(root, 0)) == 3


def test_a_model_on_features_gives_the_same_bits_for_any_workers_and_goes_on_where_it_stopped(
    tiny_settings, tmp_path
):
    changes = REPEATABLE | {
        "model.name": "scatter-linear",
        "data.augmentation": "flip",
        "federation.num-clients": 3,
        "runtime.feature-cache": str(tmp_path / "features"),
    }
    one = simulate(tiny_settings("one", changes))
    kept = sorted(path.name for path in (tmp_path / "features").iterdir())
    assert len(kept) == 4, "three clients' and the test images'"
    for workers in (2, 4):
        more = {"runtime.workers": workers, "runtime.feature-cache": ""}
        many = root_of(simulate(tiny_settings(f"many-{workers}", changes | more)))
        assert (many / "model.safetensors").read_bytes() == (root_of(one) / "model.safetensors").read_bytes()
        assert rounds(many) == rounds(root_of(one))
    assert one.report.verified
    assert one.report.findings == ()
    simulate(tiny_settings("halted", changes), observer=StoppedAtOnce())
    resumed = resume(tmp_path / "halted")
    assert rounds(root_of(resumed))[-1]["model"] == rounds(root_of(one))[-1]["model"]
    assert sorted(path.name for path in (tmp_path / "features").iterdir()) == kept, (
        "nothing was computed again"
    )


def test_a_model_on_features_refuses_what_they_cannot_have_before_anything_is_written(
    tiny_settings, tmp_path
):
    changes = {"model.name": "scatter-cnn", "data.augmentation": "flip-crop"}
    with pytest.raises(ConfigError, match="--set data.augmentation=flip or none"):
        simulate(tiny_settings("run", changes))
    assert not (tmp_path / "run").exists()
