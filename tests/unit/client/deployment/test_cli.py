"""`fedledger client`: mistakes are one line, before anything is sent."""

from __future__ import annotations

import json
import os
import shutil
import socket

import pytest

from client.deployment.addresses import (
    check_server,
    free_port,
    keep_loopback_off_proxies,
    why_unanswered,
)
from client.deployment.credentials import number_of_key
from common.errors import ConfigError
from common.run_folder import RunFolder, exclusively
from tests.command_line import run_command
from tests.real_clients import POLICY


@pytest.fixture
def files(tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY)
    assert run_command("pki", "init", str(tmp_path), "--host", "localhost").status == 0
    assert run_command("pki", "client", str(tmp_path), "key").status == 0
    return tmp_path


def client(files, *arguments: str, server: str = "127.0.0.1:1"):
    fixed = ["--server", server, "--policy", str(files / "policy.toml"), "--state", str(files / "state")]
    return run_command("client", *fixed, *arguments)


def secured(files) -> list[str]:
    return ["--ca", str(files / "ca.crt"), "--key", str(files / "key")]


@pytest.mark.parametrize("address", ["a.org", "https://a.org:1", ":8443", "a.org:-1", "a b:1", ""])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        check_server(address, insecure=False)


@pytest.mark.parametrize(
    ("address", "mend"), [("localhost", "give both"), ("https://a.org:1", "leave out https://")]
)
def test_what_an_address_lacks_is_said(address, mend):
    with pytest.raises(ConfigError, match=f"is not HOST:PORT: {mend}, such as a.org:8443"):
        check_server(address, insecure=False)


@pytest.mark.parametrize("port", ["0", "65536", "99999", "1234567"])
def test_a_port_that_is_none_is_named(port):
    words = rf"--server 'localhost:{port}': port {port} is not permitted: 1 to 65535$"
    with pytest.raises(ConfigError, match=words):
        check_server(f"localhost:{port}", insecure=False)


@pytest.mark.parametrize("address", ["a.org:1", "10.0.0.1:1", "[2001:db8::1]:1", "127.0.0.1.evil.org:1"])
def test_plain_http_stays_on_this_machine(address):
    assert check_server(address, insecure=False) == address
    with pytest.raises(ConfigError, match="in clear over a network"):
        check_server(address, insecure=True)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.8.8.8:1"])
def test_on_this_machine_it_may_be_plain(address):
    assert check_server(address, insecure=True) == address


def test_loopback_never_goes_through_a_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "hospital.org,localhost")
    monkeypatch.delenv("no_proxy", raising=False)
    keep_loopback_off_proxies()
    assert os.environ["NO_PROXY"] == "hospital.org,localhost,127.0.0.1"
    assert os.environ["no_proxy"] == "127.0.0.1,localhost"
    assert 0 < free_port() < 2**16


def test_keys_belong_to_tls(files):
    for arguments, words in (
        (["--data-dir", "x"], "--ca FILE is needed"),
        (["--ca", str(files / "ca.crt"), "--data-dir", "x"], "--key FILE is needed"),
        (["--ca", str(files / "none"), "--key", str(files / "key")], "none is not a file"),
        ([*secured(files), "--insecure"], "uses neither --ca nor --key"),
    ):
        outcome = client(files, *arguments)
        assert outcome.status == 2
        assert words in outcome.err
        assert outcome.err.count("\n") == 1


def test_one_set_of_images_is_needed(files):
    for arguments in ([], ["--data-dir", "x", "--partition", "0/2"]):
        outcome = client(files, *secured(files), *arguments)
        assert outcome.status == 2
        assert "one set of images" in outcome.err


def test_images_that_are_missing_are_told_before_anything_is_sent(files):
    outcome = client(files, *secured(files), "--data-dir", str(files / "images"))
    assert outcome.status == 2
    assert "does not exist" in outcome.err
    assert not (files / "state" / "node").exists()


def test_a_setting_that_is_not_its_own_is_refused(files):
    outcome = client(files, *secured(files), "--partition", "0/2", "--set", "privacy.epsilon=100")
    assert outcome.status == 2
    assert "not a client's own to make" in outcome.err


def test_a_form_of_log_that_is_none_is_refused(files):
    outcome = client(files, *secured(files), "--partition", "0/2", "--log-format", "xml")
    assert outcome.status == 2
    assert "give text or json" in outcome.err


def test_a_number_is_for_life(files):
    arguments = [*secured(files), "--data-dir", str(files / "images")]
    client(files, *arguments, "--number", "5")
    assert (files / "state" / "number").read_text() == "5\n"
    outcome = client(files, *arguments, "--number", "6")
    assert outcome.status == 2
    assert "is the folder of client 5, not 6" in outcome.err


def test_a_partition_is_not_trained_from_anothers_folder(files):
    client(files, *secured(files), "--data-dir", str(files / "images"), "--number", "5")
    outcome = client(files, *secured(files), "--partition", "0/2")
    assert outcome.status == 2
    assert "is the folder of client 5, not 0" in outcome.err
    assert "name the --state of client 0" in outcome.err


def test_a_lost_number_is_asked_for_where_a_ledger_has_one(files):
    arguments = [*secured(files), "--data-dir", str(files / "images")]
    state, own = files / "state", number_of_key(files / "key", 1_000_000)
    for kept, number in (("ledgers/client-{}.jsonl", own + 1), ("keys/client-{}.salt", own + 2)):
        path = state / kept.format(number)
        path.parent.mkdir(parents=True)
        path.touch()
        what = f"the {path.parent.name[:-1]} of client {number}"
        for more in ([], ["--number", "7"]):
            outcome = client(files, *arguments, *more)
            assert outcome.status == 2
            line = f"{state} holds {what}, but no file number: put it back, or give --number {number}"
            line += ", or name another --state\n"
            assert outcome.err == f"fedledger: {line}"
            assert not (state / "number").exists()
        assert "does not exist" in client(files, *arguments, "--number", str(number)).err
        assert (state / "number").read_text() == f"{number}\n"
        shutil.rmtree(state)


def test_a_lost_number_that_still_follows_from_the_key_is_found_again(files):
    own = number_of_key(files / "key", 1_000_000)
    (files / "state" / "ledgers").mkdir(parents=True)
    (files / "state" / "ledgers" / f"client-{own}.jsonl").touch()
    client(files, *secured(files), "--data-dir", str(files / "images"))
    assert (files / "state" / "number").read_text() == f"{own}\n"


def test_every_line_of_a_log_for_machines_is_json(files):
    (files / "key").chmod(0o644)
    outcome = client(files, *secured(files), "--data-dir", "nowhere", "--log-format", "json")
    assert outcome.status == 2
    *lines, last = outcome.err.splitlines()
    assert "others than its owner can use --key" in json.loads(lines[0])["message"]
    assert last.startswith("fedledger: ")


def test_a_state_folder_in_use_is_named_with_a_clients_way_out(files, monkeypatch):
    monkeypatch.setattr("client.deployment.serving._PATIENCE_SECONDS", 0.0)
    state = files / "state"
    state.mkdir()
    with exclusively(RunFolder(state)):
        outcome = client(files, *secured(files), "--data-dir", str(files / "images"))
    assert outcome.status == 2
    assert (
        outcome.err == f"fedledger: {state} is in use by another process: stop it, or name another --state\n"
    )


def failing(error: OSError):
    def connect(*_, **__):
        raise error

    return connect


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name not known"),
        (TimeoutError("timed out"), "timed out"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (OSError(113, "No route to host"), "no route to host"),
    ],
)
def test_one_attempt_tells_why_a_server_does_not_answer(monkeypatch, error, cause):
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(socket, "create_connection", failing(error))
    assert why_unanswered("a.org:8443") == cause
    monkeypatch.setenv("https_proxy", "http://user:word@127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert why_unanswered("a.org:8443") == "by way of the proxy that $https_proxy names"


def test_who_takes_connections_and_says_nothing_is_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert why_unanswered(f"127.0.0.1:{silent.getsockname()[1]}") == "connected, but without an answer"
