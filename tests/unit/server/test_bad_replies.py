"""Replies that must not be averaged: each is dropped, and the others' mean is exact."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bad_replies import BAD, forged
from tests.small_federation import coordinate
from tests.three_clients import clients, lines, moved, same

pytestmark = pytest.mark.usefixtures("flower_identity", "small_model")


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
    assert state.clients[1].ledger.entries[-1].body.receipt.receipt.round == 2


def test_a_replayed_update_is_refused(folder):
    kept = []

    def replay(client, request, update):
        if request.round == 1:
            kept.append(client.updated(request, update.arrays))
        return replace(kept[0], ledger_lines=() if request.round > 1 else kept[0].ledger_lines)

    state = coordinate(folder, clients(bad=replay), rounds=2)
    assert same(state.arrays, moved(3.25, moved(4.5)))
    assert "does not end with the release" in lines(folder)[1]["refused"][0]["reason"]


def test_a_tampered_ledger_retires_its_client_which_is_told_why(folder):
    asked = clients(bad=forged, bad_in=(2,))
    state = coordinate(folder, asked, rounds=4)
    assert asked[1].notices == [state.retired[1].reason]
    assert asked[0].notices == asked[2].notices == []
    assert asked[1].asked == [1, 2]
    assert asked[0].asked == [1, 2, 3, 4]
    assert state.retired[1].code == "ledger-tampered"
    assert [line["participants"] for line in lines(folder)] == [[0, 1, 2], [0, 2], [0, 2], [0, 2]]
