"""The loop over rounds, with clients that answer well and clients that do not."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from flwr.app import Error, Message, RecordDict

from common.arrays import digest, from_bytes
from common.errors import CheckpointError, RoundFailed
from common.ledger import parse_lines
from common.protocol import Refusal
from common.run_folder import RunFolder
from server.checkpoint import load_state
from tests.small_federation import MODEL, MadeUpClient, NoEvaluator, Watcher, coordinate
from tests.three_clients import clients, lines, moved, same

pytestmark = pytest.mark.usefixtures("flower_identity", "small_model")

START = MODEL


def test_the_mean_is_weighted_by_public_sizes(folder):
    watcher = Watcher()
    state = coordinate(folder, clients(), watcher=watcher)
    assert same(state.arrays, moved(4.5))
    assert watcher.answers == 3
    assert watcher.ending == "the one round is done"


def test_every_client_is_told_what_the_outputs_of_the_model_mean(folder):
    asked = clients()
    coordinate(folder, asked)
    assert all(client.classes[0] == ("cat", "dog") for client in asked)


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


ADAPTIVE = {"federation.server-optimizer": "adam", "federation.server-momentum": 0.5}


def test_both_moments_of_fedadam_survive_a_stop_to_the_bit(folder, tmp_path):
    whole = coordinate(RunFolder(tmp_path / "whole"), clients(), rounds=5, changes=ADAPTIVE)
    asked = clients()
    coordinate(folder, asked, rounds=5, watcher=Watcher(stop_after=2), changes=ADAPTIVE)
    state = coordinate(folder, asked, rounds=5, changes=ADAPTIVE)
    assert same(state.arrays, whole.arrays)
    assert same(state.velocity, whole.velocity)
    assert same(state.second_moment, whole.second_moment)
    kept = 0.99**5  # of the square of tau with which it begins; the rest is 4.5^2
    expected = kept * 0.001**2 + (1 - kept) * 4.5**2
    np.testing.assert_allclose(next(iter(state.second_moment.values())), expected, rtol=1e-5)


@pytest.mark.parametrize(("before", "after"), [("sgd", "adam"), ("yogi", "sgd")])
def test_a_run_is_not_resumed_with_moments_that_it_does_not_have(folder, before, after):
    asked = clients()
    begun = {"federation.server-optimizer": before}
    coordinate(folder, asked, rounds=4, watcher=Watcher(stop_after=2), changes=begun)
    with pytest.raises(CheckpointError, match="federation.server-optimizer = .* is not how .* began"):
        coordinate(folder, asked, rounds=4, changes={"federation.server-optimizer": after})
    assert len(lines(folder)) == 2


AVERAGING = {"federation.model-average": 0.5, "federation.server-momentum": 0.0}


def averages_of(model, steps: int) -> list:
    """Return what every number of a model that moves by 4.5 a round averages to, beginning at `model`."""
    average, found = {name: array.astype(np.float64) for name, array in model.items()}, []
    for number in range(1, steps + 1):
        share = max(0.5, 9 / (10 + number))
        average = {n: (1 - share) * a + share * (model[n] + 4.5 * number) for n, a in average.items()}
        found.append(average)
    return found


def test_an_average_is_evaluated_and_kept_while_training_goes_on_from_the_last_model(folder):
    state = coordinate(folder, clients(), rounds=12, changes=AVERAGING)
    assert same(state.arrays, moved(54.0))
    (*_, expected) = averages_of(START, 12)
    for name, value in expected.items():
        np.testing.assert_allclose(state.average[name], value, rtol=1e-6)
    assert same(from_bytes(folder.model.read_bytes()), state.average)
    last = lines(folder)[-1]
    assert (last["model"], last["average_model"]) == (digest(state.arrays), digest(state.average))
    assert [line["input_model"] for line in lines(folder)[1:]] == [x["model"] for x in lines(folder)[:-1]]


def test_what_is_evaluated_is_the_average(folder, monkeypatch):
    seen, evaluate = [], NoEvaluator.evaluate
    monkeypatch.setattr(NoEvaluator, "evaluate", lambda *args: seen.append(args[1]) or evaluate(*args))
    state = coordinate(folder, clients(), changes=AVERAGING)
    assert same(seen[-1], state.average)
    assert not same(state.average, state.arrays)


def test_an_average_survives_a_stop_to_the_bit(folder, tmp_path):
    whole = coordinate(RunFolder(tmp_path / "whole"), clients(), rounds=5, changes=AVERAGING)
    asked = clients()
    coordinate(folder, asked, rounds=5, watcher=Watcher(stop_after=2), changes=AVERAGING)
    assert same(coordinate(folder, asked, rounds=5, changes=AVERAGING).average, whole.average)


@pytest.mark.parametrize(("before", "after"), [(0.5, "off"), ("off", 0.5)])
def test_a_run_is_not_resumed_with_an_average_that_it_did_not_begin_with(folder, before, after):
    asked = clients()
    begun = {"federation.model-average": before}
    coordinate(folder, asked, rounds=4, watcher=Watcher(stop_after=2), changes=begun)
    with pytest.raises(CheckpointError, match="federation.model-average = .* is not how .* began"):
        coordinate(folder, asked, rounds=4, changes={"federation.model-average": after})
    assert len(lines(folder)) == 2


def test_a_round_without_a_usable_reply_leaves_the_average(folder):
    asked = clients()
    for client in asked:
        client.change, client.change_in = crash, (2,)
    state = coordinate(folder, asked, rounds=2, changes=AVERAGING)
    first, second = lines(folder)
    assert first["average_model"] == second["average_model"] == digest(state.average)


def test_the_proposed_rate_falls_from_round_to_round(folder):
    asked, rates = clients(), []
    asked[0].change = lambda _, request, update: (
        rates.append(request.proposal.training.learning_rate) or update
    )
    changes = {"training.learning-rate-decay": "linear", "training.learning-rate": 2.0}
    coordinate(folder, asked, rounds=4, changes=changes)
    assert rates == [2.0, 1.5, 1.0, 0.5]


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
    assert len(state.clients[1].ledger.entries) == 7  # a charge, a release and a receipt a round


def crash(client, request, update):
    question = Message(RecordDict(), dst_node_id=2, message_type="train")
    return Message(Error(code=2, reason="patient Smith"), reply_to=question)


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
    assert not watcher.can_go_on, "those that are left out stay so"
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
    watcher = Watcher(stop_after=2)
    stopped = coordinate(folder, same_clients, rounds=4, watcher=watcher)
    assert watcher.can_go_on
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
    assert folder.rounds.read_bytes() == b""
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


@pytest.mark.parametrize("limit", ["off", 0.2])
def test_with_a_time_limit_a_round_that_too_few_answer_is_the_last_one_until_resumed(folder, limit):
    asked = clients()
    for client in asked[:2]:
        client.change, client.change_in = crash, (2,)
    changes, watcher = {"federation.round-timeout-seconds": limit}, Watcher()
    state = coordinate(folder, asked, rounds=3, changes=changes, watcher=watcher)
    assert watcher.can_go_on == (limit != "off")
    if limit == "off":
        assert state.ended == "all 3 rounds are done"
        return
    assert (state.round, state.ended) == (
        2,
        "round 2 stands with 1 usable answer, but 2 are needed to go on; it can be resumed",
    )
    assert lines(folder)[1]["participants"] == [2], "what was charged is not thrown away"
    assert coordinate(folder, asked, rounds=3, changes=changes).ended == "all 3 rounds are done"
