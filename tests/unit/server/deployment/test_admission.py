"""Signatures, clocks and allowances: what is checked before a byte of a body is read."""

from __future__ import annotations

import base64
import shutil
import subprocess

import pytest

from server.deployment import limits as limits_module
from server.deployment.admission import Admission, Denied
from server.deployment.limits import Allowance, Limits
from tests.live_gateway import NodeKey


@pytest.fixture
def key():
    return NodeKey()


@pytest.fixture
def admission(key):
    return Admission(
        lambda: {key.public: "site-a"}, Limits(requests_at_a_time=2, requests_per_second=1e-9, burst=3)
    )


def denied(admission, headers) -> Denied:
    with pytest.raises(Denied) as caught, admission.admit(headers, "192.0.2.1"):
        pytest.fail("it was let through")
    return caught.value


def test_a_request_that_an_enrolled_node_signed_now_passes_under_its_name(admission, key):
    with admission.admit(key.headers(), "192.0.2.1") as name:
        assert name == "site-a"


@pytest.mark.parametrize(("age", "word"), [(400, "behind"), (306, "behind"), (-6, "ahead"), (-400, "ahead")])
def test_an_old_or_future_signature_tells_of_the_clock(admission, key, age, word):
    refusal = denied(admission, key.headers(age=age))
    assert refusal.status == 401
    assert f"s {word}: set it right" in refusal.reason


@pytest.mark.parametrize("age", [0, 290, -3])
def test_a_clock_may_be_a_little_wrong(admission, key, age):
    with admission.admit(key.headers(age=age), "192.0.2.1"):
        pass


def test_an_unknown_key_is_refused_however_well_it_signs(admission):
    assert "not enrolled here, or was revoked" in denied(admission, NodeKey().headers()).reason


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="this system has no ssh-keygen")
def test_the_servers_own_log_names_the_key_as_ssh_keygen_does(admission, tmp_path):
    stranger = NodeKey()
    refusal = denied(admission, stranger.headers())
    (tmp_path / "stranger.pub").write_bytes(stranger.openssh("stranger"))
    shown = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "stranger.pub"], capture_output=True, text=True, check=True
    )
    assert f"key {shown.stdout.split()[1]} is not enrolled" in refusal.log
    assert "operator" not in refusal.log


def test_the_servers_own_log_names_who_was_revoked(key):
    admission = Admission(dict, Limits(), revoked=lambda: {key.public: "site-a"})
    refusal = denied(admission, key.headers())
    assert "the key of site-a was revoked" in refusal.log
    assert refusal.reason.startswith("this key is not enrolled here, or was revoked")


@pytest.mark.parametrize(
    "odd", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_a_key_that_is_none_is_refused_without_a_word_of_it(admission, odd):
    headers = NodeKey().headers() | {"flwr-public-key": base64.b64encode(odd).decode()}
    assert "key that cannot be read is not enrolled" in denied(admission, headers).log


def test_a_revoked_key_is_refused_from_then_on(key):
    admitted = {key.public: "site-a"}
    admission = Admission(lambda: admitted, Limits())
    with admission.admit(key.headers(), "x"):
        pass
    admitted.clear()
    assert denied(admission, key.headers()).status == 401


def test_another_key_cannot_sign_for_an_enrolled_one(admission, key):
    forged = NodeKey().headers() | {"flwr-public-key": base64.b64encode(key.public).decode()}
    assert "not signed by its key" in denied(admission, forged).reason


def test_a_signature_holds_for_its_own_time_only(admission, key):
    late = key.headers() | {"flwr-timestamp": key.headers(age=-1)["flwr-timestamp"]}
    assert "not signed by its key" in denied(admission, late).reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flwr-public-key", "%%%"),
        ("flwr-public-key", ""),
        ("flwr-public-key", "é"),
        ("flwr-signature", "%%%"),
        ("flwr-signature", ""),
        ("flwr-signature", "AAAA"),
        ("flwr-timestamp", ""),
        ("flwr-timestamp", "yesterday"),
        ("flwr-timestamp", "2026-01-01T00:00:00"),
        ("flwr-timestamp", "é"),
    ],
)
def test_odd_headers_are_refused_and_break_nothing(admission, key, name, value):
    assert denied(admission, key.headers() | {name: value}).status == 401
    missing = {header: text for header, text in key.headers().items() if header != name}
    assert denied(admission, missing).status == 401


def test_requests_under_way_are_counted_and_given_back(admission, key):
    with admission.admit(key.headers(), "x"):
        with admission.admit(key.headers(), "x"):
            assert denied(admission, key.headers()).status == 503
        with admission.admit(key.headers(), "x"):
            pass
    assert denied(admission, key.headers()).status == 503, "three was the burst"


def test_an_allowance_is_earned_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(limits_module.time, "monotonic", lambda: now[0])
    allowance = Allowance(2.0, 3)
    assert [allowance.take("a") for _ in range(4)] == [True, True, True, False]
    assert allowance.take("b"), "each has its own"
    now[0] += 0.5
    assert [allowance.take("a") for _ in range(2)] == [True, False]
    now[0] += 1000
    assert [allowance.take("a") for _ in range(4)] == [True, True, True, False]


def test_an_allowance_remembers_no_more_users_than_it_must(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(limits_module.time, "monotonic", lambda: now[0])
    allowance = Allowance(1.0, 2)
    for number in range(Allowance._MOST_USERS):
        allowance.take(str(number))
    now[0] += 3
    allowance.take("new")
    assert len(allowance._left) == 1
