"""A server's folder: one server at a time, found by the commands of its own account."""

from __future__ import annotations

import os
import stat

import pytest

from common.errors import ConfigError
from server.deployment import state_folder
from server.deployment.errors import ServerFailed
from server.deployment.private_files import replace_private, write_once
from server.deployment.state_folder import Running, StateFolder
from server.deployment.superlink import environment
from tests.command_line import run_command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(state_folder, "_LOCK_SECONDS", 0.3)
    return StateFolder(tmp_path / "state")


def running(pid: int) -> Running:
    return Running(pid=pid, superlink="127.0.0.1:1", gateway="0.0.0.0:2", metrics="127.0.0.1:3", tls=True)


def test_it_is_for_one_server_and_its_owner(folder):
    descriptor = folder.lock()
    with pytest.raises(ServerFailed, match="in use by another server"):
        StateFolder(folder.root).lock()
    os.close(descriptor)
    os.close(folder.lock())
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700


def test_a_running_server_is_found_until_it_is_gone(folder):
    os.close(folder.lock())
    with pytest.raises(ServerFailed, match="no server runs on"):
        folder.running()
    folder.announce(running(os.getpid()))
    assert folder.running() == running(os.getpid())
    folder.announce(running(2**22 + 1))
    with pytest.raises(ServerFailed, match="no server runs on"):
        folder.running()
    folder.running_file.write_text("{}")
    with pytest.raises(ConfigError, match="is damaged"):
        folder.running()
    folder.withdraw()
    folder.withdraw()


def test_what_is_no_folder_is_named(folder):
    with pytest.raises(ConfigError, match="is not a server's folder"):
        folder.running()
    folder.root.write_text("")
    with pytest.raises(ConfigError, match="cannot be used as a folder"):
        folder.lock()


def test_each_start_has_a_secret_of_its_own_that_others_cannot_read(folder):
    os.close(folder.lock())
    first, second = folder.new_secret(), folder.new_secret()
    assert first != second
    assert len(second) >= 43
    assert folder.secret.read_text() == second
    assert stat.S_IMODE(folder.secret.stat().st_mode) == 0o600


def test_runs_are_remembered_and_a_torn_line_is_passed_over(folder, tmp_path):
    os.close(folder.lock())
    folder.remember_run(2**63 + 5, tmp_path / "run")
    with folder.runs.open("a") as file:
        file.write('{"run_id": \n[1]\n')
    assert folder.folders_of_runs() == {2**63 + 5: str(tmp_path / "run")}


def test_private_files_are_private_and_written_once(tmp_path):
    path = tmp_path / "key"
    write_once(path, b"1")
    with pytest.raises(ConfigError, match="never overwritten"):
        write_once(path, b"2")
    assert path.read_bytes() == b"1"
    replace_private(path, b"3")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"3", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_flowers_processes_see_no_proxy_and_install_nothing(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy:1")
    found = environment(tmp_path)
    assert not [name for name in found if name.lower().endswith("_proxy") and name.lower() != "no_proxy"]
    assert found["FLWR_HOME"] == str(tmp_path)
    assert found["FLWR_TELEMETRY_ENABLED"] == "0"
    assert found["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"


@pytest.mark.parametrize("verb", ["status", "revoke", "enroll"])
def test_commands_without_a_server_say_so_in_one_line(verb, folder, tmp_path):
    os.close(folder.lock())
    run_command("pki", "client", str(tmp_path), "site-a")
    arguments = {"status": [], "revoke": ["site-a"], "enroll": [str(tmp_path / "site-a.pub")]}[verb]
    outcome = run_command(verb, *arguments, "--state", str(folder.root))
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "no server runs on" in outcome.err


def test_the_list_of_the_enrolled_needs_no_server(folder):
    outcome = run_command("enroll", "--list", "--state", str(folder.root))
    assert (outcome.status, outcome.out) == (0, "Nobody is enrolled.\n")
    assert "give the client's public key" in run_command("enroll", "--state", str(folder.root)).err
