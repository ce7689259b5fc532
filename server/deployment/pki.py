"""A deployment's own certificate authority, the server's certificate, and the keys of clients' nodes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import ConfigError
from server.deployment.private_files import make_private_folder, read_file, write_once

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
"""Ten years for the CA, which clients hold by hand; thirteen months for the server's certificate."""

_CLOCK_SKEW = timedelta(hours=1)
_HOST = re.compile(
    r"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


class PkiFolder:
    """The names of the files that `pki init` writes.

    Args:
        root: the folder; its private keys never leave the server's machine.
    """

    def __init__(self, root: Path) -> None:
        self.authority = root / "ca.crt"
        self.authority_key = root / "ca.key"
        self.certificate = root / "server.crt"
        self.key = root / "server.key"
        self.root = root


def make_server_certificate(root: Path, hosts: Sequence[str], *, days: int = SERVER_DAYS) -> PkiFolder:
    """Make a CA, unless the folder holds one, and a certificate for the server under it.

    Args:
        root: a folder; created for its owner alone.
        hosts: the DNS names and IP addresses under which clients reach the server; at least one.
        days: how long the server's certificate is valid, from 1 on.

    Raises:
        ConfigError: when a host is not one, or a server certificate is there: nothing is overwritten.
    """
    names = [subject_name(host) for host in hosts]
    if not names:
        raise ConfigError("a server needs a name: give --host NAME, once for each name or address it has")
    folder = PkiFolder(root)
    for path in (folder.certificate, folder.key):
        if path.exists():
            raise ConfigError(
                f"{path} exists and is never overwritten: move server.crt and server.key away to have new "
                "ones under the same CA, or name another folder"
            )
    if folder.authority.exists() != folder.authority_key.exists():
        raise ConfigError(f"{root} holds half a CA (ca.crt and ca.key belong together): name another folder")
    make_private_folder(root)
    authority, authority_key = _authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _server_certificate(names, key, authority, authority_key, days)
    write_once(folder.key, _private_pem(key))
    write_once(folder.certificate, _pem(certificate), mode=0o644)
    return folder


def subject_name(host: str) -> x509.GeneralName:
    """Return a DNS name or an IP address as certificates hold it.

    Raises:
        ConfigError: when it is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not _HOST.fullmatch(host) or host.replace(".", "").isdigit():
        raise ConfigError(
            f"--host {host[:80]!r} is neither a DNS name nor an IP address: leave out port and https://"
        )
    return x509.DNSName(host)


def _authority(folder: PkiFolder) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if folder.authority.exists():
        return _read_authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = new_authority(key, AUTHORITY_DAYS)
    write_once(folder.authority_key, _private_pem(key))
    write_once(folder.authority, _pem(certificate), mode=0o644)
    return certificate, key


def _read_authority(folder: PkiFolder) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(read_file(folder.authority, "a certificate"))
        key = serialization.load_pem_private_key(read_file(folder.authority_key, "a private key"), None)
    except (ValueError, TypeError):
        raise ConfigError(
            f"{folder.root} holds no readable CA (ca.crt, ca.key): name another folder"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"{folder.authority_key} is not the key of {folder.authority}: name another folder")
    return certificate, key


def new_authority(key: ec.EllipticCurvePrivateKey, days: int) -> x509.Certificate:
    """Return a self-signed CA that may sign servers and no further CA."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FedLedger deployment CA")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return (
        _builder(name, name, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    names: Sequence[x509.GeneralName],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(names[0].value)[:64])])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, authority.subject, key.public_key(), days)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    """Begin a certificate that is valid from a little ago, for clocks that go slow."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
