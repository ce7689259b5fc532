"""Who may connect: each key once, each name once at a time, and what is revoked stays so."""

from __future__ import annotations

import json
import stat

import pytest

from common.errors import ConfigError
from common.flower_internals.control import FlowerRefused, NodeInfo
from server.deployment.enrolment import Enrolments
from server.deployment.errors import ServerFailed


class MadeUpNodes:
    """SuperLink's list of nodes."""

    def __init__(self) -> None:
        self.known: dict[int, NodeInfo] = {}
        self.fails: FlowerRefused | None = None

    def nodes(self):
        return list(self.known.values())

    def register(self, public_key, name):
        if self.fails:
            raise self.fails
        number = len(self.known) + 100
        self.known[number] = NodeInfo(
            node_id=number, name=name, status="registered", public_key=public_key, last_seen=None
        )
        return number

    def unregister(self, node_id):
        if self.fails:
            raise self.fails
        if node_id not in self.known:
            raise FlowerRefused("no such node", 404)
        del self.known[node_id]


@pytest.fixture
def nodes():
    return MadeUpNodes()


@pytest.fixture
def enrolments(tmp_path):
    return Enrolments(tmp_path / "enrolled.json")


def test_an_enrolled_key_is_admitted_at_once_and_a_revoked_one_no_more(enrolments, nodes):
    assert enrolments.admitted() == {}
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    enrolments.enroll(nodes, "site-b", b"KEY-B")
    assert enrolments.admitted() == {b"KEY-A": "site-a", b"KEY-B": "site-b"}
    assert enrolments.revoked() == {}
    enrolments.revoke(nodes, "site-a")
    assert enrolments.admitted() == {b"KEY-B": "site-b"}
    assert enrolments.revoked() == {b"KEY-A": "site-a"}
    assert [entry.name for entry in enrolments.all()] == ["site-a", "site-b"]
    assert list(nodes.known) == [101]


def test_another_process_sees_the_change(enrolments, nodes, tmp_path):
    elsewhere = Enrolments(tmp_path / "enrolled.json")
    assert elsewhere.admitted() == {}
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    assert elsewhere.admitted() == {b"KEY-A": "site-a"}
    enrolments.revoke(nodes, "site-a")
    assert elsewhere.admitted() == {}


def test_the_list_is_for_its_owner_alone(enrolments, nodes, tmp_path):
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    assert stat.S_IMODE((tmp_path / "enrolled.json").stat().st_mode) == 0o600


def test_a_revoked_key_stays_revoked_and_its_name_is_free_for_a_new_key(enrolments, nodes):
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    enrolments.revoke(nodes, "site-a")
    with pytest.raises(ConfigError, match="site-a was revoked already, at 2"):
        enrolments.revoke(nodes, "site-a")
    with pytest.raises(ConfigError, match="was revoked .* and stays so"):
        enrolments.enroll(nodes, "site-a", b"KEY-A")
    enrolments.enroll(nodes, "site-a", b"KEY-A2")
    assert enrolments.admitted() == {b"KEY-A2": "site-a"}


def test_a_name_and_a_key_are_enrolled_once(enrolments, nodes):
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    with pytest.raises(ConfigError, match="enrolled as site-a already"):
        enrolments.enroll(nodes, "site-b", b"KEY-A")
    with pytest.raises(ConfigError, match="enrolled with another key"):
        enrolments.enroll(nodes, "site-a", b"KEY-B")
    assert len(nodes.known) == 1


def test_an_enrolment_that_was_cut_off_halfway_is_completed(enrolments, nodes):
    number = nodes.register(b"KEY-A", "site-a")
    assert enrolments.enroll(nodes, "site-a", b"KEY-A").node_id == number
    assert len(nodes.known) == 1


def test_what_superlink_refuses_is_not_written(enrolments, nodes):
    nodes.fails = FlowerRefused("key in use", 409)
    with pytest.raises(FlowerRefused):
        enrolments.enroll(nodes, "site-a", b"KEY-A")
    assert enrolments.all() == []


def test_the_gateway_shuts_a_key_out_even_when_superlink_does_not_answer(enrolments, nodes):
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    nodes.fails = FlowerRefused("SuperLink does not answer")
    with pytest.raises(ServerFailed, match="shuts the key out from now on"):
        enrolments.revoke(nodes, "site-a")
    assert enrolments.admitted() == {}


def test_a_key_that_superlink_has_forgotten_is_enrolled_again(enrolments, nodes):
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    enrolments.enroll(nodes, "site-b", b"KEY-B")
    nodes.known = {7: nodes.known[101]}  # a database that was lost, and one node enrolled since
    again = enrolments.enroll(nodes, "site-a", b"KEY-A")
    assert [(entry.name, entry.node_id) for entry in enrolments.all()] == [("site-b", 101), ("site-a", 101)]
    assert nodes.known[again.node_id].public_key == b"KEY-A"
    with pytest.raises(ConfigError, match="nothing is to do"):
        enrolments.enroll(nodes, "site-a", b"KEY-A")
    with pytest.raises(ConfigError, match="is enrolled as site-a already"):
        enrolments.enroll(nodes, "site-c", b"KEY-A")


def test_a_node_that_superlink_has_forgotten_can_be_revoked(enrolments, nodes):
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    nodes.known.clear()
    enrolments.revoke(nodes, "site-a")
    assert enrolments.admitted() == {}


def test_who_is_not_enrolled_cannot_be_revoked(enrolments, nodes):
    with pytest.raises(ConfigError, match="enrolled are nobody"):
        enrolments.revoke(nodes, "site-a")
    enrolments.enroll(nodes, "site-b", b"KEY-B")
    with pytest.raises(ConfigError, match="enrolled are site-b"):
        enrolments.revoke(nodes, "site-a")


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '[{"name": "x"}]', "null"])
def test_a_damaged_list_lets_nobody_in(enrolments, nodes, tmp_path, text):
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    (tmp_path / "enrolled.json").write_text(text)
    with pytest.raises(ConfigError, match="put a good copy back"):
        enrolments.admitted()
    with pytest.raises(ConfigError, match="put a good copy back"):
        enrolments.enroll(nodes, "site-b", b"KEY-B")
    assert (tmp_path / "enrolled.json").read_text() == text


def test_the_file_holds_no_private_key(enrolments, nodes, tmp_path):
    enrolments.enroll(nodes, "site-a", b"KEY-A")
    assert set(json.loads((tmp_path / "enrolled.json").read_text())[0]) == {
        "name",
        "public_key",
        "node_id",
        "enrolled_at",
        "revoked_at",
    }
