"""What a SuperNode prints becomes one line that says what to do."""

from __future__ import annotations

import logging

import pytest

from client.deployment.complaints import Complaints


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="fedledger.node")
    return lambda: [record.getMessage() for record in caplog.records]


def hear(*lines: str) -> Complaints:
    complaints = Complaints()
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
        ("[code: 2004] Node activation failed.", "has not enrolled this key"),
        ("Client error '401 Unauthorized' for url", "does not know this key"),
        ("WARNING : Connection attempt failed, retrying in 1.00 seconds", "does not answer"),
    ],
)
def test_each_way_not_to_be_connected_has_its_words(line, words, said):
    assert words in hear(line).reason
    assert len(said()) == 1


def test_a_reason_is_told_once_and_forgotten_when_the_server_answers(said):
    again = "Connection attempt failed, retrying in 2.00 seconds"
    complaints = hear(
        again, again, again, "INFO : Connection successful after 3.00 seconds and 4 tries.", again
    )
    assert said() == ["the server does not answer", "the server answers again", "the server does not answer"]
    complaints.hear("\x1b[92mINFO \x1b[0m:      SuperNode ID: 123456\n")
    assert said()[-1] == "connected as node 123456"
    assert complaints.reason == "the SuperNode ended without a reason"


def test_all_else_is_for_whoever_asks_for_details(said, caplog):
    hear("INFO :      Received successfully", "", "\x1b[92mINFO \x1b[0m:")
    assert said() == []
    caplog.set_level(logging.DEBUG, logger="fedledger.node")
    hear("\x1b[92mINFO \x1b[0m:      Received successfully", "", "\x1b[92mINFO \x1b[0m:")
    assert said() == ["INFO :      Received successfully"]
