"""`fedledger keys`: what is made, what is shown, and what is refused."""

from __future__ import annotations

import base64
import stat
import sys

import pytest
import typer
from typer.testing import CliRunner

from common.errors import ConfigError, LedgerError, LedgerTampered
from common.ledger import Ledger, SigningKey, read_ledger
from common.ledger import keys_cli as keys
from common.ledger.keys import fingerprint, is_protected, passphrase_from_environment

SECRET = "correct horse"


@pytest.fixture(autouse=True)
def no_passphrase(monkeypatch):
    monkeypatch.delenv("FEDLEDGER_PASSPHRASE", raising=False)
    monkeypatch.delenv("FEDLEDGER_NEW_PASSPHRASE", raising=False)


@pytest.fixture
def at_a_terminal(monkeypatch):
    """Let the commands believe that somebody can be asked; what is typed comes from the runner."""
    monkeypatch.setattr(keys, "_can_ask", lambda: True)


@pytest.fixture
def key_path(tmp_path, key):
    path = tmp_path / "keys" / "client-0.key"
    key.save(path)
    return path


def use(*arguments: object, typed: str | None = None):
    app = typer.Typer()
    for command in (keys.new, keys.show, keys.rotate):
        app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)


def test_a_new_key_is_its_owner_s_only(tmp_path):
    path = tmp_path / "secret" / "client.key"
    result = use("new", path)
    assert result.exit_code == 0, result.exception
    public = SigningKey.load(path).public
    assert result.stdout.splitlines() == [
        f"public key   {base64.b64encode(public).decode()}",
        f"fingerprint  {fingerprint(public)}",
        f"file         {path}, not protected by a passphrase",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert result.stderr == ""


def test_no_key_is_overwritten(key_path, key):
    result = use("new", key_path)
    assert isinstance(result.exception, LedgerError)
    assert "exists already: a key is never overwritten" in str(result.exception)
    assert SigningKey.load(key_path).public == key.public


def test_the_environment_s_passphrase_protects_a_new_key(tmp_path, monkeypatch):
    for number, options in enumerate(([], ["--passphrase"])):
        monkeypatch.setenv("FEDLEDGER_PASSPHRASE", SECRET)
        path = tmp_path / f"{number}.key"
        assert ", protected by a passphrase" in use("new", path, *options).stdout
        assert is_protected(path)
        assert use("show", path).exit_code == 0
        monkeypatch.delenv("FEDLEDGER_PASSPHRASE")
        assert "put it into $FEDLEDGER_PASSPHRASE" in str(use("show", path).exception)


def test_a_passphrase_is_asked_for_twice(tmp_path, at_a_terminal):
    path = tmp_path / "client.key"
    result = use("new", path, "--passphrase", typed=f"{SECRET}\n{SECRET}\n")
    assert result.exit_code == 0, result.exception
    assert SECRET not in result.output
    assert SigningKey.load(path, SECRET)
    assert use("show", path, typed=f"{SECRET}\n").exit_code == 0
    assert "the right one" in str(use("show", path, typed="wrong\n").exception)


def test_two_different_passphrases_make_no_key(tmp_path, at_a_terminal):
    path = tmp_path / "client.key"
    result = use("new", path, "--passphrase", typed=f"{SECRET}\nanother\n")
    assert str(result.exception) == "no passphrase was given, so nothing was done: try again"
    assert not path.exists()


def test_without_a_terminal_the_passphrase_must_be_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDLEDGER_PASSPHRASE", "")
    assert passphrase_from_environment() is None
    error = use("new", tmp_path / "client.key", "--passphrase").exception
    assert isinstance(error, ConfigError)
    assert str(error).endswith("put the passphrase into $FEDLEDGER_PASSPHRASE instead")
    assert not (tmp_path / "client.key").exists()


def test_a_key_does_not_live_with_ledgers(path, filled):
    error = use("new", path.parent / "client-0.key").exception
    assert isinstance(error, ConfigError)
    keys_folder = path.parent.parent / "keys" / "client-0.key"
    assert str(error).endswith(f"must not travel: choose a folder of its own, such as {keys_folder}")
    assert list(path.parent.iterdir()) == [path]


def test_showing_a_key_tells_the_public_half_only(key_path, key):
    result = use("show", key_path)
    assert fingerprint(key.public) in result.stdout
    private = key_path.read_text().splitlines()[1]
    assert private not in result.output
    assert base64.b64decode(private)[-32:].hex() not in result.output


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True), (0o400, False)])
def test_a_file_that_others_can_use_is_warned_about(key_path, mode, warned):
    key_path.chmod(mode)
    result = use("show", key_path)
    assert result.exit_code == 0
    assert (f"(mode {mode:04o}): chmod 600 {key_path}" in result.stderr) == warned


def test_a_ledger_is_handed_to_a_new_key(filled, path, key_path, key, reserve):
    result = use("rotate", path, "--key", key_path)
    assert result.exit_code == 0, result.exception
    new = SigningKey.load(key_path)
    assert f"fingerprint  {fingerprint(new.public)}" in result.stdout
    assert read_ledger(path).public_key == new.public != key.public
    Ledger.open(path, new).append(reserve(7))


def test_a_new_key_is_protected_as_the_old_one_was(ledger, path, tmp_path, key, monkeypatch):
    place = tmp_path / "guarded" / "client.key"
    key.save(place, SECRET)
    monkeypatch.setenv("FEDLEDGER_PASSPHRASE", SECRET)
    assert use("rotate", path, "--key", place).exit_code == 0
    assert SigningKey.load(place, SECRET).public == read_ledger(path).public_key
    assert is_protected(place)


def test_a_new_key_can_have_another_passphrase(ledger, path, key_path, monkeypatch):
    monkeypatch.setenv("FEDLEDGER_NEW_PASSPHRASE", "another")
    assert use("rotate", path, "--key", key_path, "--passphrase").exit_code == 0
    assert SigningKey.load(key_path, "another").public == read_ledger(path).public_key


def test_rotating_asks_for_both_passphrases(ledger, path, tmp_path, key, at_a_terminal):
    place = tmp_path / "guarded" / "client.key"
    key.save(place, SECRET)
    result = use("rotate", path, "--key", place, "--passphrase", typed=f"{SECRET}\nnext\nnext\n")
    assert result.exit_code == 0, result.exception
    assert SigningKey.load(place, "next").public == read_ledger(path).public_key


def test_an_unprotected_key_is_not_protected_by_a_passphrase_meant_for_others(ledger, path, key_path):
    assert use("rotate", path, "--key", key_path).exit_code == 0
    assert not is_protected(key_path)


def test_another_s_key_cannot_rotate(filled, path, tmp_path):
    place = tmp_path / "keys" / "other.key"
    SigningKey.generate().save(place)
    before = path.read_bytes()
    assert isinstance(use("rotate", path, "--key", place).exception, LedgerTampered)
    assert path.read_bytes() == before


def test_nobody_is_asked_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert not keys._can_ask()
