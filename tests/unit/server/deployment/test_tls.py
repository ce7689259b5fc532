"""A certificate that clients would refuse is found before one of them tries."""

from __future__ import annotations

import ssl

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.errors import ConfigError
from server.deployment.pki import make_server_certificate
from server.deployment.serving import ServerOptions, serve
from server.deployment.tls import TlsFiles, refuse_unusable
from tests.command_line import run_command
from tests.live_gateway import heard, live_gateway


def files(root, hosts=("127.0.0.1",), **options) -> TlsFiles:
    make_server_certificate(root, list(hosts), **options)
    return TlsFiles.of_folder(root)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fl.example.org", "*.example.org"])
def test_a_good_certificate_tells_its_names(host, tmp_path):
    assert refuse_unusable(files(tmp_path, [host])) == [host]


def test_an_expired_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="certificate has expired"):
        refuse_unusable(files(tmp_path, days=0))


def test_one_of_another_ca_is_refused(tmp_path):
    ours, other = files(tmp_path / "a"), files(tmp_path / "b")
    mixed = TlsFiles(certificate=ours.certificate, key=ours.key, authority=other.authority)
    with pytest.raises(ConfigError, match=r"clients would refuse .* name the CA that signed it with --ca"):
        refuse_unusable(mixed)


def test_a_key_of_another_certificate_is_refused(tmp_path):
    ours, other = files(tmp_path / "a"), files(tmp_path / "b")
    mixed = TlsFiles(certificate=ours.certificate, key=other.key, authority=ours.authority)
    with pytest.raises(ConfigError, match="not a certificate and its private key"):
        refuse_unusable(mixed)


def test_the_ca_itself_is_no_server(tmp_path):
    ours = files(tmp_path)
    itself = TlsFiles(certificate=ours.authority, key=tmp_path / "ca.key", authority=ours.authority)
    with pytest.raises(ConfigError, match="names no host"):
        refuse_unusable(itself)


def test_an_encrypted_key_is_refused_without_a_question(tmp_path):
    ours = files(tmp_path)
    key = serialization.load_pem_private_key(ours.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    secret = serialization.BestAvailableEncryption(b"x")
    ours.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    )
    with pytest.raises(ConfigError, match="is encrypted"):
        refuse_unusable(ours)


@pytest.mark.parametrize("part", ["certificate", "key", "authority"])
def test_what_is_not_pem_is_named(part, tmp_path):
    ours = files(tmp_path)
    getattr(ours, part).write_text("nonsense")
    with pytest.raises(ConfigError) as caught:
        refuse_unusable(ours)
    assert str(getattr(ours, part)) in str(caught.value)
    getattr(ours, part).unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        refuse_unusable(ours)


def test_an_expired_certificate_under_way_leaves_one_line_on_both_sides(tmp_path):
    expired = files(tmp_path / "pki", days=0)
    with heard() as lines, live_gateway(tmp_path, files=expired) as live:
        context = ssl.create_default_context(cafile=str(expired.authority))
        with pytest.raises(httpx.ConnectError, match="certificate has expired"):
            httpx.get(f"{live.url}/health", verify=context, trust_env=False)
    assert len(lines) == 1
    assert "does the certificate still hold" in lines[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "fl.example.org"])
def test_plain_http_is_for_loopback_alone(host, tmp_path):
    with pytest.raises(ConfigError, match="in clear over the network"):
        serve(ServerOptions(state=tmp_path / "state", host=host, port=0, tls=None))
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "give --pki DIR"),
        (("--pki", "{folder}/none"), "holds no server.crt"),
        (("--cert", "x"), "both --cert and --cert-key"),
        (("--pki", "{folder}", "--cert", "x"), "the server needs one certificate"),
        (("--pki", "{folder}", "--log-format", "xml"), "give text or json"),
        (("--pki", "{folder}", "--port", "70000"), "is not a port"),
        (("--pki", "{folder}", "--max-body-mib", "1"), "give 8 to 2048"),
        (("--cert", "{folder}/server.crt", "--cert-key", "{folder}/server.key"), "clients would refuse"),
    ],
)
def test_the_command_refuses_with_one_line(arguments, line, tmp_path):
    files(tmp_path / "pki")
    filled = [argument.format(folder=tmp_path / "pki") for argument in arguments]
    outcome = run_command("server", "--state", str(tmp_path / "state"), *filled)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert line in outcome.err
