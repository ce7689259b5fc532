"""Who takes part, and why others do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flwr.app import Error, Message, RecordDict

from client.app import _refuse_other_classes
from common.errors import ConfigError, RoundFailed
from common.ledger import parse_lines
from common.protocol import Description, Refusal, Update
from common.run_folder import LedgerHome
from server.joining import join
from server.receipts import ReceiptBook
from server.state import RunState
from tests.small_federation import MODEL, MadeUpClient, MadeUpGrid, Watcher

pytestmark = pytest.mark.usefixtures("flower_identity")


@pytest.fixture
def home(tmp_path) -> LedgerHome:
    return LedgerHome(tmp_path)


STATE = RunState(run="run", round=0, arrays=MODEL, velocity=MODEL)


class Odd(MadeUpClient):
    """A client whose description is another one."""

    def __init__(self, answer):
        super().__init__(0, 10, 1.0)
        self._answer = answer

    def answer(self, message):
        super().answer(message)
        return self._answer


def described(client: MadeUpClient, **changes) -> Description:
    honest = Description(
        partition_id=client.partition_id,
        num_examples=client.num_examples,
        ledger_lines=tuple(client.lines),
        presence=client.presence(STATE.run),
    )
    return replace(honest, **changes)


def joined(nodes, home, **grid):
    watcher = Watcher()
    with ReceiptBook.open(home) as book:
        return join(MadeUpGrid(nodes, **grid), STATE, watcher, book), watcher.refused_to_join


@pytest.mark.parametrize(
    ("images", "added", "other"),
    [
        ("synthetic", " (data.dataset = synthetic)", ", or start a run with data.dataset = folder"),
        ("folder", "", ""),
        ("", "", ""),
    ],
)
def test_who_has_other_classes_is_told_which_images_the_servers_are(home, images, added, other):
    with pytest.raises(ConfigError) as differing:
        _refuse_other_classes(("circle",), ("cat",))
    said = str(differing.value)
    refusal = Refusal(partition_id=3, code="config", reason=said)
    watcher = Watcher()
    with ReceiptBook.open(home) as book, pytest.raises(RoundFailed) as caught:
        join(MadeUpGrid({11: Odd(refusal)}), STATE, watcher, book, images=images)
    shown = said.replace("test images", f"test images{added}") + other
    assert str(caught.value) == f"no client could join: client 3 did not join: {shown}"
    assert [one.refusal.reason for one in watcher.nodes_turned_away] == [shown]


@pytest.mark.parametrize("backwards", [False, True])
def test_clients_are_known_by_number_node_size_and_ledger(home, backwards):
    nodes = {12: MadeUpClient(1, 20, 0.0), 11: MadeUpClient(4, 30, 0.0), 13: MadeUpClient(0, 10, 0.0)}
    state, refused = joined(nodes, home, backwards=backwards)
    assert refused == []
    assert list(state.clients) == [0, 1, 4] == state.active
    for node, client in nodes.items():
        record = state.clients[client.partition_id]
        assert (record.node_id, record.num_examples) == (node, client.num_examples)
        assert record.ledger == parse_lines(client.lines)


@pytest.mark.parametrize("backwards", [False, True])
def test_whoever_shows_a_copy_of_anothers_ledger_does_not_keep_its_owner_out(home, backwards):
    owner, thief = MadeUpClient(3, 20, 0.0), MadeUpClient(3, 20, 0.0)
    thief.lines = list(owner.lines)
    state, refused = joined({11: thief, 12: owner}, home, backwards=backwards)
    assert state.clients[3].node_id == 12
    assert refused == ["client 3 shows a ledger whose key it does not hold"]


@pytest.mark.parametrize("backwards", [False, True])
def test_of_two_nodes_with_one_number_the_first_by_node_takes_part(home, backwards):
    nodes = {11: MadeUpClient(3, 10, 0.0), 12: MadeUpClient(3, 20, 0.0)}
    state, refused = joined(nodes, home, backwards=backwards)
    assert state.clients[3].node_id == 11
    assert refused == ["two nodes claim to be client 3: the second is left out"]


HONEST = MadeUpClient(2, 20, 0.0)
OTHER = MadeUpClient(3, 20, 0.0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Refusal(partition_id=2, code="data", reason="no images"), "client 2 did not join: no images"),
        (RecordDict(), "the message holds no fields"),
        (described(HONEST, num_examples=2000), "claims 2000 examples where its ledger says 20"),
        (described(HONEST, ledger_lines=()), "no entries"),
        (described(HONEST, ledger_lines=("{}",)), "entry 0"),
        (described(HONEST, ledger_lines=(*HONEST.lines, *OTHER.lines)), "entry 1"),
        (described(HONEST, ledger_lines=(HONEST.lines[0].replace("20", "21"),)), "entry 0"),
        (described(HONEST, partition_id=-1), "client -1"),
        (described(HONEST, presence=b""), "client 2 shows a ledger whose key it does not hold"),
        (described(HONEST, presence=OTHER.presence(STATE.run)), "whose key it does not hold"),
        (described(HONEST, presence=HONEST.presence("another run")), "whose key it does not hold"),
        (
            Update(partition_id=2, num_examples=20, arrays=MODEL, ledger_lines=tuple(HONEST.lines)),
            "something other than a description",
        ),
    ],
)
def test_whoever_does_not_describe_itself_truly_is_left_out(home, answer, reason):
    odd = Odd(answer)
    state, refused = joined({11: odd, 12: MadeUpClient(5, 10, 0.0)}, home)
    assert list(state.clients) == [5]
    (line,) = refused
    assert reason in line
    assert odd.notices == ([line] if isinstance(answer, Description) else []), "it knows its own reason"
    assert "\n" not in line


def test_a_node_that_fails_is_left_out_without_its_words(home):
    question = Message(RecordDict(), dst_node_id=2, message_type="query")
    failed = Message(Error(code=2, reason="patient Smith"), reply_to=question)
    _, (line,) = joined({11: Odd(failed), 12: MadeUpClient(5, 10, 0.0)}, home)
    assert "Flower error 2" in line
    assert "Smith" not in line


def test_if_nobody_can_join_the_first_reason_is_given(home):
    with pytest.raises(RoundFailed, match="no client could join: client 2 did not join: no images"):
        joined({11: Odd(Refusal(partition_id=2, code="data", reason="no images"))}, home)
    with pytest.raises(RoundFailed, match="no node is connected"):
        joined({}, home)
