"""Certificates and keys: what they hold, who may read them, and that none is ever overwritten."""

from __future__ import annotations

import ipaddress
import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from flwr.supernode.cli.flower_supernode import load_ssh_private_key

from common.errors import ConfigError
from server.deployment.node_keys import make_client_key, read_public_key
from server.deployment.pki import make_server_certificate
from tests.command_line import run_command


@pytest.fixture
def folder(tmp_path):
    return make_server_certificate(
        tmp_path / "pki", ["fl.example.org", "192.0.2.7", "2001:db8::7", "*.example.org"]
    )


def parsed(path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_the_certificate_names_every_host(folder):
    names = parsed(folder.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fl.example.org", "*.example.org"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("192.0.2.7"),
        ipaddress.ip_address("2001:db8::7"),
    ]


def test_the_ca_signs_servers_and_nothing_else_and_the_server_signs_nothing(folder):
    authority, certificate = parsed(folder.authority), parsed(folder.certificate)
    certificate.verify_directly_issued_by(authority)
    ca = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    leaf = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (ca.ca, ca.path_length, leaf.ca) == (True, 0, False)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_lifetimes_are_thirteen_months_and_ten_years(folder):
    now = datetime.now(UTC)
    assert parsed(folder.certificate).not_valid_after_utc - now <= timedelta(days=397)
    assert parsed(folder.authority).not_valid_after_utc - now > timedelta(days=3640)
    assert parsed(folder.certificate).not_valid_before_utc < now


def test_openssl_agrees_strictly(folder):
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", folder.authority]
    done = subprocess.run([*command, folder.certificate], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("OK"), done.stderr


def test_private_keys_are_for_their_owner_alone(folder, tmp_path):
    private, public = make_client_key(tmp_path / "keys", "site-a")
    for path in (folder.key, folder.authority_key, private):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert public.read_text().split()[2] == "site-a"


def test_flower_reads_the_node_key(tmp_path):
    private, public = make_client_key(tmp_path, "site-a")
    key = load_ssh_private_key(private.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert read_public_key(public) == pem


def test_nothing_is_overwritten_and_a_new_certificate_may_come_under_the_same_ca(folder, tmp_path):
    before = {path: path.read_bytes() for path in folder.root.iterdir()}
    with pytest.raises(ConfigError, match="never overwritten"):
        make_server_certificate(folder.root, ["other"])
    assert {path: path.read_bytes() for path in folder.root.iterdir()} == before
    folder.certificate.rename(tmp_path / "old.crt")
    folder.key.rename(tmp_path / "old.key")
    again = make_server_certificate(folder.root, ["other"])
    assert again.authority.read_bytes() == before[folder.authority]
    parsed(again.certificate).verify_directly_issued_by(parsed(again.authority))


def test_a_client_key_is_never_overwritten(tmp_path):
    private, _ = make_client_key(tmp_path, "site-a")
    before = private.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        make_client_key(tmp_path, "site-a")
    assert private.read_bytes() == before


def test_half_a_ca_is_no_ca(folder):
    folder.certificate.unlink()
    folder.key.unlink()
    folder.authority_key.unlink()
    with pytest.raises(ConfigError, match="half a CA"):
        make_server_certificate(folder.root, ["x"])


@pytest.mark.parametrize(
    "host",
    [
        "",
        "https://fl.example.org",
        "fl.example.org:8443",
        "a b",
        "-a.org",
        "a..b",
        "10.0.0",
        "x" * 300,
        "é.org",
        "1.2.3.4/8",
    ],
)
def test_a_host_that_is_none_is_named_and_nothing_is_written(host, tmp_path):
    outcome = run_command("pki", "init", str(tmp_path / "pki"), "--host", host)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "neither a DNS name nor an IP address" in outcome.err
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a b", "x" * 64, "ä"])
def test_a_name_that_could_be_a_path_is_none(name, tmp_path):
    outcome = run_command("pki", "client", str(tmp_path / "keys"), name)
    assert outcome.status == 2
    assert "is no client's name" in outcome.err
    assert not (tmp_path / "keys").exists()


def test_only_a_public_key_of_a_curve_is_one(folder, tmp_path):
    private, _ = make_client_key(tmp_path, "site-a")
    with pytest.raises(ConfigError, match="stays with its client"):
        read_public_key(private)
    with pytest.raises(ConfigError, match="not an OpenSSH public key"):
        read_public_key(folder.certificate)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_public_key(tmp_path / "none.pub")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "is an Ed25519 key"),
        (ec.generate_private_key(ec.SECP256R1()), "is a key on the curve P-256"),
        (ec.generate_private_key(ec.SECP521R1()), "is a key on the curve P-521"),
        (rsa.generate_private_key(65537, 2048), "is an RSA key"),
    ],
)
def test_a_key_that_no_client_can_use_is_not_enrolled(key, kind, tmp_path):
    path = tmp_path / "other.pub"
    path.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" x\n")
    with pytest.raises(ConfigError) as caught:
        read_public_key(path)
    assert str(caught.value) == (
        f"{path} {kind}, where one on the curve P-384 is needed: make it at the site with "
        "`fedledger pki client`, and enrol that one"
    )


def test_the_commands_say_what_to_do_with_what_they_made(tmp_path):
    outcome = run_command("pki", "init", str(tmp_path), "--host", "localhost", "--host", "127.0.0.1")
    assert outcome.status == 0
    assert f"Give {tmp_path}/ca.crt to every client" in outcome.out
    outcome = run_command("pki", "client", str(tmp_path), "site-a")
    assert outcome.status == 0
    assert "PRIVATE KEY" not in outcome.out
