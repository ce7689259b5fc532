"""What a client proves itself with, looked at before it is used."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client.deployment.credentials import check_authority, check_node_key, number_of_key
from common.errors import ConfigError
from tests.command_line import run_command


@pytest.fixture
def made(tmp_path):
    assert run_command("pki", "init", str(tmp_path / "pki"), "--host", "localhost").status == 0
    assert run_command("pki", "client", str(tmp_path / "keys"), "site-a").status == 0
    return tmp_path


def test_what_the_commands_make_is_accepted(made):
    check_authority(made / "pki" / "ca.crt")
    check_node_key(made / "keys" / "site-a")


def test_a_node_key_that_others_can_read_is_warned_of(made, caplog):
    key = made / "keys" / "site-a"
    check_node_key(key)
    assert caplog.text == ""
    key.chmod(0o644)
    check_node_key(key)
    key.chmod(0o600)
    assert f"others than its owner can use --key {key} (mode 0644): chmod 600 {key}" in caplog.text


@pytest.mark.parametrize("name", ["pki/ca.crt", "pki/ca.key", "keys/site-a.pub"])
def test_another_file_is_no_node_key(made, name):
    with pytest.raises(ConfigError, match="is not a node's private key"):
        check_node_key(made / name)


@pytest.mark.parametrize("name", ["pki/ca.key", "keys/site-a"])
def test_another_file_is_no_authority(made, name):
    with pytest.raises(ConfigError, match="is not a certificate in PEM"):
        check_authority(made / name)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "is an Ed25519 key"),
        (ec.generate_private_key(ec.SECP256R1()), "is a key on the curve P-256"),
        (rsa.generate_private_key(65537, 2048), "is an RSA key"),
    ],
)
def test_a_node_key_of_another_kind_is_named(key, kind, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    with pytest.raises(ConfigError) as caught:
        check_node_key(path)
    assert str(caught.value) == (
        f"--key {path} {kind}, where one on the curve P-384 is needed: make it with `fedledger pki client`, "
        "and have it enrolled"
    )


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="this system has no ssh-keygen")
@pytest.mark.parametrize(
    ("kind", "passphrase", "line"),
    [("384", "", ""), ("256", "", "is a key on the curve P-256"), ("384", "word", "by a passphrase")],
)
def test_keys_of_ssh_keygen(tmp_path, kind, passphrase, line):
    path = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True)
    if not line:
        check_node_key(path)
        return
    with pytest.raises(ConfigError, match=line):
        check_node_key(path)


def test_a_clients_number_follows_from_its_key_alone(made, tmp_path):
    key, copy = made / "keys" / "site-a", tmp_path / "elsewhere"
    shutil.copy(key, copy)
    assert run_command("pki", "client", str(made / "keys"), "site-b").status == 0
    number = number_of_key(key, 1_000_000)
    assert 0 <= number < 1_000_000
    assert number_of_key(copy, 1_000_000) == number
    assert number_of_key(made / "keys" / "site-b", 1_000_000) != number
