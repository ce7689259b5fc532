"""The loop over rounds, with clients that answer well and clients that do not."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from flwr.app import Array, ConfigRecord, Error, Message, RecordDict

from common.arrays import digest, from_bytes
from common.errors import CheckpointError, RoundFailed
from common.ledger import SigningKey, parse_lines
from common.messages import reply_record
from common.protocol import Description, Refusal
from common.run_folder import RunFolder
from server import rounds
from server.checkpoint import load_state
from tests.small_federation import MODEL, MadeUpClient, Watcher, coordinate

pytestmark = pytest.mark.usefixtures("flower_identity")

START = MODEL


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setattr(rounds, "initial_arrays", lambda *_, **__: MODEL)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def clients(*, bad=None, bad_in=()) -> list[MadeUpClient]:
    """Three clients; the second may answer otherwise.

    Mean of all: (10 * 1 + 20 * 7 + 30 * 4) / 60 = 4.5; without the second: (10 * 1 + 30 * 4) / 40 = 3.25.
    """
    return [
        MadeUpClient(0, 10, 1.0),
        MadeUpClient(1, 20, 7.0, change=bad, change_in=bad_in),
        MadeUpClient(2, 30, 4.0),
    ]


def moved(by: float, arrays=START):
    return {name: array + np.float32(by) for name, array in arrays.items()}


def same(one, other) -> bool:
    return digest(one) == digest(other)


def lines(folder: RunFolder) -> list[dict]:
    return [json.loads(line) for line in folder.rounds.read_text().splitlines()]


def test_the_mean_is_weighted_by_public_sizes(folder):
    watcher = Watcher()
    state = coordinate(folder, clients(), watcher=watcher)
    assert same(state.arrays, moved(4.5))
    assert watcher.answers == 3
    assert watcher.ending == "all 1 rounds are done"


def test_uniform_weights(folder):
    state = coordinate(folder, clients(), changes={"federation.weighting": "uniform"})
    assert same(state.arrays, moved(4.0))  # (1 + 7 + 4) / 3


def test_momentum_is_kept_across_rounds(folder):
    state = coordinate(folder, clients(), rounds=3, changes={"federation.server-momentum": 0.5})
    velocities = [4.5, 6.75, 7.875]  # v <- v / 2 + 4.5
    expected = START
    for velocity in velocities:
        expected = moved(velocity, expected)
    assert same(state.arrays, expected)
    assert same(state.velocity, {name: np.full_like(a, 7.875) for name, a in START.items()})


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("at_a_time", [1, 2, 100])
def test_the_order_of_arrival_changes_nothing(folder, backwards, at_a_time):
    awkward = clients()
    for client, value in zip(awkward, (0.1, 1e8, -1e8), strict=True):
        client.value = value
    state = coordinate(folder, awkward, backwards=backwards, at_a_time=at_a_time)
    total = 10 * np.float64(np.float32(0.1)) + 20 * 1e8 + 30 * -1e8
    assert same(state.arrays, moved(np.float32(total * (1 / 60))))


def test_a_round_is_written_down(folder):
    state = coordinate(folder, clients(), rounds=2)
    first, second = lines(folder)
    assert [first["round"], second["round"]] == [1, 2]
    assert first["participants"] == second["participants"] == [0, 1, 2]
    assert first["refused"] == []
    assert first["input_model"] == digest(START)
    assert first["model"] == second["input_model"] == digest(moved(4.5))
    assert second["model"] == digest(state.arrays)
    assert first["updates"]["2"] == digest({name: np.full_like(a, 4.0) for name, a in START.items()})
    assert same(from_bytes(folder.model.read_bytes()), state.arrays)
    assert json.loads(folder.evaluation.read_text()) == {"round": 2, "accuracy": 0.5}
    assert len(state.clients[1].ledger.entries) == 5


# Replies that must not be averaged. Each keeps its books as well as it can, so that one check alone sees it.


def poisoned(value, client, request, update):
    first = next(iter(update.arrays))
    arrays = {name: array.copy() for name, array in update.arrays.items()}
    arrays[first].flat[1] = value
    return client.updated(request, arrays)


def reshaped(client, request, update):
    return client.updated(request, {name: array[..., None] for name, array in update.arrays.items()})


def scalars(client, request, update):
    return client.updated(request, {name: np.float32(7.0) for name in update.arrays})


def renamed(client, request, update):
    return client.updated(request, {f"x.{name}": array for name, array in update.arrays.items()})


def too_many(client, request, update):
    return client.updated(request, update.arrays | {"more": np.zeros(2, dtype=np.float32)})


def in_double(client, request, update):
    return client.updated(request, {name: array.astype(np.float64) for name, array in update.arrays.items()})


def overweight(client, request, update):
    return replace(client.updated(request, update.arrays), num_examples=20_000)


def gossip(client, request, update):
    return RecordDict({"fields": ConfigRecord({"kind": "gossip", "partition-id": 1})})


def nothing(client, request, update):
    return RecordDict()


def description(client, request, update):
    return Description(partition_id=1, num_examples=20, ledger_lines=tuple(client.lines))


def crash(client, request, update):
    question = Message(RecordDict(), dst_node_id=2, message_type="train")
    return Message(Error(code=2, reason="patient Smith"), reply_to=question)


def with_bytes(data, client, request, update):
    record = reply_record(client.updated(request, update.arrays))
    name = next(iter(update.arrays))
    shape = update.arrays[name].shape
    record["arrays"][name] = Array(dtype="float32", shape=shape, stype="numpy.ndarray", data=data)
    return record


def npy(array=MODEL["a"]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(2, dtype=np.float32))
    return file.getvalue()


def uncharged(client, request, update):
    return update


def reserved_only(client, request, update):
    client.reserve(request)
    return client.reply(request, update.arrays)


def another_update_released(client, request, update):
    other = {name: array + 1 for name, array in update.arrays.items()}
    client.release(request, other, reserve=client.reserve(request))
    return client.reply(request, update.arrays)


def another_round(client, request, update):
    other = replace(request, round=request.round + 1)
    client.release(other, update.arrays, reserve=client.reserve(other))
    return client.reply(request, update.arrays)


def another_run(client, request, update):
    other = replace(request, run="another")
    client.release(other, update.arrays, reserve=client.reserve(other))
    return client.reply(request, update.arrays)


def released_twice(client, request, update):
    reserve = client.reserve(request)
    client.release(request, update.arrays, reserve=reserve)
    client.release(request, update.arrays, reserve=reserve)
    return client.reply(request, update.arrays)


def forged(client, request, update):
    client.reserve(request)
    forger = SigningKey.generate()
    honest, client.key = client.key, forger
    client.release(request, update.arrays, reserve=len(client.lines) - 1)
    client.key = honest
    return client.reply(request, update.arrays)


def another_clients_lines(client, request, update):
    other = MadeUpClient(5, client.num_examples, client.value)
    return replace(other.updated(request, update.arrays), partition_id=1)


def with_a_gap(client, request, update):
    honest = client.updated(request, update.arrays)
    return replace(honest, ledger_lines=honest.ledger_lines[1:])


def from_the_start(client, request, update):
    client.updated(request, update.arrays)
    return replace(update, ledger_lines=tuple(client.lines))


def not_json(client, request, update):
    return replace(client.updated(request, update.arrays), ledger_lines=("{", "\x00é"))


BAD = {
    "nan": (partial(poisoned, np.nan), "message", "not finite"),
    "infinite": (partial(poisoned, -np.inf), "message", "not finite"),
    "shape": (reshaped, "message", "has shape"),
    "scalars": (scalars, "message", "has shape"),
    "names": (renamed, "message", "missing or unknown"),
    "more names": (too_many, "message", "'more' is missing or unknown"),
    "type": (in_double, "message", "not float32"),
    "weight": (overweight, "message", "claims 20000 examples where its ledger says 20"),
    "kind": (gossip, "message", "unknown kind 'gossip'"),
    "empty": (nothing, "message", "no fields"),
    "description": (description, "message", "something else"),
    "crash": (crash, "message", "Flower error 2"),
    "garbage": (partial(with_bytes, b"garbage"), "message", "cannot be decoded"),
    "no bytes": (partial(with_bytes, b""), "message", "cannot be decoded"),
    "broken zip": (partial(with_bytes, b"PK\x03\x04 but no archive"), "message", "cannot be decoded"),
    "cut": (partial(with_bytes, npy()[:-1]), "message", "cannot be decoded"),
    "pickle": (partial(with_bytes, npy(np.array([None, None]))), "message", "cannot be decoded"),
    "other shape": (partial(with_bytes, npy(np.float32([[1, 2]]))), "message", "has shape"),
    "odd header": (
        partial(with_bytes, npy().replace(b"{'descr'", b"(((((((")),
        "message",
        "cannot be decoded",
    ),
    "odd shape": (partial(with_bytes, npy().replace(b"(2,)", b"(22)")), "message", "cannot be decoded"),
    "archive": (partial(with_bytes, npz()), "message", "cannot be decoded"),
    "uncharged": (uncharged, "message", "does not end with the release"),
    "reserved only": (reserved_only, "message", "does not end with the release"),
    "another update": (another_update_released, "message", "does not end with the release"),
    "another round": (another_round, "message", "does not end with the release"),
    "another run": (another_run, "message", "does not end with the release"),
    "released twice": (released_twice, "ledger-tampered", "not an open RESERVE"),
    "forged": (forged, "ledger-tampered", "entry 2: its signature"),
    "another client's": (another_clients_lines, "ledger-tampered", "entry 1: its previous"),
    "gap": (with_a_gap, "ledger-tampered", "entry 1"),
    "from the start": (from_the_start, "ledger-tampered", "entry 1"),
    "not json": (not_json, "ledger-tampered", "entry 1: it is not canonical JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_reply_is_dropped_and_reported_and_the_others_mean_is_exact(folder, name):
    bad, code, reason = BAD[name]
    state = coordinate(folder, clients(bad=bad))
    assert same(state.arrays, moved(3.25))
    (line,) = lines(folder)
    assert line["participants"] == [0, 2]
    assert set(line["updates"]) == {"0", "2"}
    (refusal,) = line["refused"]
    assert (refusal["partition_id"], refusal["code"]) == (1, code)
    assert reason in refusal["reason"]
    assert "\n" not in refusal["reason"]
    assert "Smith" not in refusal["reason"]
    assert len(state.clients[1].ledger.entries) == 1, "a refused reply's entries are not taken over"


@pytest.mark.parametrize("name", ["nan", "crash", "uncharged"])
def test_after_one_bad_reply_a_client_may_return(folder, name):
    state = coordinate(folder, clients(bad=BAD[name][0], bad_in=(1,)), rounds=2)
    assert same(state.arrays, moved(4.5, moved(3.25)))
    assert state.retired == {}
    assert state.clients[1].ledger.entries[-1].body.round == 2


def test_a_replayed_update_is_refused(folder):
    kept = []

    def replay(client, request, update):
        if request.round == 1:
            kept.append(client.updated(request, update.arrays))
        return replace(kept[0], ledger_lines=() if request.round > 1 else kept[0].ledger_lines)

    state = coordinate(folder, clients(bad=replay), rounds=2)
    assert same(state.arrays, moved(3.25, moved(4.5)))
    assert "does not end with the release" in lines(folder)[1]["refused"][0]["reason"]


def test_a_tampered_ledger_retires_its_client(folder):
    asked = clients(bad=forged, bad_in=(2,))
    state = coordinate(folder, asked, rounds=4)
    assert asked[1].asked == [1, 2]
    assert asked[0].asked == [1, 2, 3, 4]
    assert state.retired[1].code == "ledger-tampered"
    assert [line["participants"] for line in lines(folder)] == [[0, 1, 2], [0, 2], [0, 2], [0, 2]]


def refuse(code, client, request, update):
    return Refusal(partition_id=99, code=code, reason="no more")


@pytest.mark.parametrize("code", ["budget-exhausted", "policy-refused", "config", "data"])
def test_a_lasting_refusal_is_heard_once(folder, code):
    asked = clients(bad=partial(refuse, code), bad_in=(2, 3, 4))
    state = coordinate(folder, asked, rounds=4)
    assert asked[1].asked == [1, 2]
    assert state.retired == {1: Refusal(partition_id=1, code=code, reason="no more")}
    assert lines(folder)[1]["refused"] == [{"partition_id": 1, "code": code, "reason": "no more"}]
    assert lines(folder)[2]["refused"] == []
    assert same(state.arrays, moved(3.25, moved(3.25, moved(3.25, moved(4.5)))))


@pytest.mark.parametrize("code", ["internal", "message", "ledger"])
def test_a_passing_failure_is_asked_again(folder, code):
    asked = clients(bad=partial(refuse, code), bad_in=(1,))
    assert coordinate(folder, asked, rounds=2).retired == {}
    assert asked[1].asked == [1, 2]


def test_the_run_ends_with_its_results_when_too_few_can_go_on(folder):
    asked = clients(bad=partial(refuse, "budget-exhausted"), bad_in=(3, 4, 5))
    asked[0].change, asked[0].change_in = partial(refuse, "budget-exhausted"), (3, 4, 5)
    watcher = Watcher()
    state = coordinate(folder, asked, rounds=50, watcher=watcher)
    assert watcher.ending == state.ended == "1 of 3 clients can go on and 2 are needed"
    assert [line["participants"] for line in lines(folder)] == [[0, 1, 2], [0, 1, 2], [2]]
    assert same(from_bytes(folder.model.read_bytes()), moved(4.0, moved(4.5, moved(4.5))))
    assert load_state(folder).ended == state.ended


def test_a_single_client_may_be_enough(folder):
    alone = [MadeUpClient(0, 10, 1.0)]
    assert coordinate(folder, alone, rounds=2).ended == "all 2 rounds are done"


def test_a_round_without_a_usable_reply_leaves_the_model_and_its_momentum(folder):
    asked = clients()
    for client in asked:
        client.change, client.change_in = crash, (2,)
    state = coordinate(folder, asked, rounds=2, changes={"federation.server-momentum": 0.5})
    assert same(state.arrays, moved(4.5))
    assert same(state.velocity, {name: np.full_like(a, 4.5) for name, a in START.items()})
    assert lines(folder)[1]["participants"] == []


def test_a_stop_waits_for_the_round_and_can_be_resumed(folder, tmp_path):
    uninterrupted = coordinate(RunFolder(tmp_path / "whole"), clients(), rounds=4)
    same_clients = clients()
    stopped = coordinate(folder, same_clients, rounds=4, watcher=Watcher(stop_after=2))
    assert (stopped.round, stopped.ended) == (2, "stopped after round 2; it can be resumed")
    resumed = coordinate(folder, same_clients, rounds=4)
    assert (resumed.round, resumed.run, resumed.ended) == (4, stopped.run, "all 4 rounds are done")
    assert same_clients[0].asked == [1, 2, 3, 4]
    assert same(resumed.arrays, uninterrupted.arrays)
    assert [line["round"] for line in lines(folder)] == [1, 2, 3, 4]


def test_a_retired_client_stays_out_when_the_run_is_resumed(folder):
    asked = clients(bad=partial(refuse, "budget-exhausted"), bad_in=(1,))
    coordinate(folder, asked, rounds=4, watcher=Watcher(stop_after=2))
    coordinate(folder, asked, rounds=4)
    assert asked[1].asked == [1]


def test_a_finished_run_is_not_run_again(folder):
    asked = clients()
    done = coordinate(folder, asked, rounds=2)
    again = coordinate(folder, asked, rounds=2)
    assert asked[0].asked == [1, 2]
    assert same(again.arrays, done.arrays)
    assert again.ended == "all 2 rounds are done"


def test_a_fraction_of_the_clients_is_asked_in_each_round(folder):
    asked = [MadeUpClient(number, 10, 1.0) for number in range(6)]
    coordinate(folder, asked, rounds=6, changes={"federation.fraction-train": 0.5})
    for number, line in enumerate(lines(folder), start=1):
        assert len(line["participants"]) == 3
        assert line["participants"] == [c.partition_id for c in asked if number in c.asked]
    assert len({tuple(line["participants"]) for line in lines(folder)}) > 1


def test_the_entries_of_a_client_stay_verified_from_round_to_round(folder):
    asked = clients()
    state = coordinate(folder, asked, rounds=3)
    for client in asked:
        assert state.clients[client.partition_id].ledger == parse_lines(client.lines)


def test_no_client_no_run(folder):
    with pytest.raises(RoundFailed, match="no node is connected"):
        coordinate(folder, [])


def test_a_run_whose_every_client_refuses_at_once_has_failed(folder):
    asked = clients()
    for client in asked:
        client.change = partial(refuse, "budget-exhausted")
    with pytest.raises(RoundFailed, match="no client took part in round 1; client 0: "):
        coordinate(folder, asked, rounds=3)
    assert not folder.rounds.exists()
    assert load_state(folder).round == 0


def test_a_ledger_that_lost_entries_since_the_checkpoint_stays_out(folder):
    asked = clients()
    coordinate(folder, asked, rounds=4, watcher=Watcher(stop_after=2))
    del asked[1].lines[3:]
    watcher = Watcher()
    coordinate(folder, asked, rounds=4, watcher=watcher)
    assert asked[1].asked == [1, 2]
    assert [line["participants"] for line in lines(folder)] == [[0, 1, 2], [0, 1, 2], [0, 2], [0, 2]]


def test_a_run_without_its_checkpoint_is_not_begun_anew(folder):
    asked = clients()
    coordinate(folder, asked, rounds=2)
    (folder.checkpoint / "state.json").unlink()
    with pytest.raises(CheckpointError, match="state.json is missing, though rounds are done"):
        coordinate(folder, asked, rounds=2)
    assert len(lines(folder)) == 2
