"""What a SuperNode prints becomes one line that says what to do."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from client.deployment.complaints import Complaints


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="fedledger.node")
    return lambda: [record.getMessage() for record in caplog.records]


def hear(*lines: str) -> Complaints:
    complaints = Complaints("a.org:8443", Path("pki/ca.crt"), lambda server: f"{server} is far")
    for line in lines:
        complaints.hear(line + "\n")
    return complaints


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("certificate verify failed: certificate has expired (_ssl.c:1006)", "certificate has expired"),
        (
            "CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not valid for 'b.org'",
            "another name",
        ),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate",
            "not from the CA of --ca",
        ),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "does not speak TLS"),
        (
            "[code: 2004] this server speaks TLS: connect with https",
            "give --ca and --key instead of --insecure",
        ),
        (
            "[code: 2004] Failed to activate SuperNode.",
            "if it stays, another client has the key",
        ),
        ("[code: 2004] this key is not enrolled here, or was revoked: ask", "not enrolled there, or was"),
        ("INFO : SuperNode terminated gracefully.", "accepts this session no longer"),
        ("httpx.HTTPStatusError: Client error '403 Forbidden' for url", "not enrolled there, or was revoked"),
        ("Client error '401 Unauthorized' for url", "does not accept this key's signature"),
        ("[Errno 98] address already in use", "port on this machine was taken"),
        ("all is well", "ended without a reason"),
    ],
)
def test_each_way_not_to_be_connected_has_its_words(line, words, said):
    vague = "ERROR :     SSL/TLS handshake error detected."
    assert words in hear(line).reason
    if "SSL" in line:
        assert words in hear(vague, line, vague).reason
        assert "agree on no TLS connection" in hear(vague).reason
    assert said() == []  # it is told once, when the SuperNode has ended


def test_a_server_that_does_not_answer_is_told_once_until_it_does(said):
    failed = "WARNING : Connection attempt failed, retrying in 2.00 seconds"
    complaints = hear(failed, failed, failed)
    assert said() == [
        "a.org:8443 does not answer (a.org:8443 is far); it is tried again and again: check --server and the "
        "firewall, such as by curl --cacert pki/ca.crt https://a.org:8443/health"
    ]
    assert complaints.reason == "a.org:8443 does not answer (a.org:8443 is far)"
    complaints.hear("INFO : Connection successful after 3.00 seconds and 4 tries.")
    assert said()[1:] == ["the server answers again"]
    assert complaints.reason == "the SuperNode ended without a reason"
    complaints.hear(failed)
    assert len(said()) == 3
    assert not complaints.is_lame


@pytest.mark.parametrize(
    "line",
    [
        "INFO : Receiving: train message (ID: 8)",
        "INFO : Received successfully",
        "INFO : Sent successfully",
        "INFO : SuperNode ID: 123456",
        "WARNING : Giving up reconnection after 9.00 seconds and 5 tries.",
        "INFO : Run ID 7 is not in `RUNNING` status. Ignoring reply message 8.",
        "INFO : Run transitioned to a non-`RUNNING` status while receiving a message. Ignoring the message.",
    ],
)
def test_whatever_needs_an_answer_shows_that_the_server_answers_again(line, said):
    failed = "WARNING : Connection attempt failed, retrying in 2.00 seconds"
    complaints = hear(failed, line, line)
    assert said().count("the server answers again") == 1
    assert "does not answer" not in complaints.reason


def test_giving_up_for_want_of_tls_is_no_answer(said):
    failed = "WARNING : Connection attempt failed, retrying in 2.00 seconds"
    gave_up = "WARNING : Giving up reconnection after 9.00 seconds and 5 tries."
    hear(failed, "ERROR : SSL/TLS handshake error detected.", gave_up)
    hear(failed, "INFO : Sending: train message (ID: 8)")
    assert "the server answers again" not in said()


def test_a_connection_is_told_with_its_node(said):
    hear("\x1b[92mINFO \x1b[0m:      SuperNode ID: 123456")
    assert said() == ["connected as node 123456"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RuntimeError: Heartbeat failed unexpectedly. The SuperLink does not", "forgotten this session"),
        ("Exception in thread Thread-2 (_run):", "part of the SuperNode died"),
        ("INFO : Run ID 7 is not in `RUNNING` status. Ignoring message 8.", "not be fetched to its end"),
        ("ERROR : Failed to receive message 8: the object could not be found.", "not be fetched to its end"),
    ],
)
def test_a_supernode_that_lives_on_lame_is_recognised(line, words):
    complaints = hear("INFO : Received successfully", line)
    assert complaints.is_lame
    assert words in complaints.reason


def test_an_answer_that_came_after_its_run_ended_is_no_complaint():
    assert not hear("INFO : Run ID 7 is not in `RUNNING` status. Ignoring reply message 8.").is_lame


def test_a_key_that_is_revoked_while_connected_is_recognised_by_the_second_time():
    ignored = (
        "INFO :      Run transitioned to a non-`RUNNING` status while receiving a message. "
        "Ignoring the message."
    )
    assert not hear(ignored, "INFO : [RUN 1]", ignored).is_lame
    assert "was revoked" in hear(ignored, ignored).reason
    assert hear(ignored, ignored).is_lame


def test_all_else_is_for_whoever_asks_for_details(said, caplog):
    hear("INFO :      Received successfully", "", "\x1b[92mINFO \x1b[0m:")
    assert said() == []
    caplog.set_level(logging.DEBUG, logger="fedledger.node")
    hear("\x1b[92mINFO \x1b[0m:      Received successfully", "", "\x1b[92mINFO \x1b[0m:")
    assert said() == ["INFO :      Received successfully"]


def test_without_tls_the_way_out_has_none(said):
    complaints = Complaints("127.0.0.1:1", None)
    complaints.hear("WARNING : Connection attempt failed, retrying in 2.00 seconds")
    (line,) = said()
    assert line.startswith("127.0.0.1:1 does not answer (connection refused); ")
    assert line.endswith("such as by curl http://127.0.0.1:1/health")
