"""Whether clients will accept the server's certificate, found out before any of them tries."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from common.errors import ConfigError
from server.deployment.pki import PkiFolder
from server.deployment.private_files import read_file


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """What the gateway shows to clients.

    Args:
        certificate: PEM, the server's certificate first, then any between it and the CA.
        key: PEM, the private key of the first.
        authority: PEM, the CA that clients are given; None where they trust their system's.
    """

    certificate: Path
    key: Path
    authority: Path | None

    @classmethod
    def of_folder(cls, root: Path) -> TlsFiles:
        """Return the files that `pki init` made.

        Raises:
            ConfigError: when the folder does not hold them.
        """
        folder = PkiFolder(root)
        if not folder.certificate.exists():
            raise ConfigError(
                f"{root} holds no server.crt: make it with `fedledger pki init {root} --host NAME`"
            )
        return cls(certificate=folder.certificate, key=folder.key, authority=folder.authority)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and later, without compression or renegotiation.

    Raises:
        ConfigError: when the files do not hold a certificate and its private key.
    """
    read_file(files.certificate, "a certificate")
    read_file(files.key, "a private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # of TLS 1.2; those of 1.3 are fixed and sound
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password(files.key))
    except ssl.SSLError as error:
        raise ConfigError(
            f"{files.certificate} and {files.key} are not a certificate and its private key, both in PEM "
            f"({error.reason or 'unreadable'}): name the right files"
        ) from None
    return context


def refuse_unusable(files: TlsFiles) -> list[str]:
    """Shake hands with the certificate as a client would, and return the names it is good for.

    Raises:
        ConfigError: when clients that hold the CA would refuse it: expired, of another CA, without names.
    """
    context = server_context(files)
    names = names_of(files.certificate)
    if not names:
        raise ConfigError(f"{files.certificate} names no host (no subjectAltName): clients would refuse it")
    host = names[0].replace("*.", "any.", 1)
    try:
        _shake_hands(context, _client_context(files.authority), host)
    except ssl.SSLCertVerificationError as error:
        raise ConfigError(
            f"clients would refuse {files.certificate} ({error.verify_message}): make a new one with "
            "`fedledger pki init`, or name the CA that signed it with --ca"
        ) from None
    except ssl.SSLError as error:
        raise ConfigError(
            f"{files.certificate} cannot be used for TLS 1.2 or later ({error.reason})"
        ) from None
    return names


def names_of(certificate: Path) -> list[str]:
    """Return the DNS names and IP addresses of a certificate.

    Raises:
        ConfigError: when the file is not a certificate in PEM.
    """
    try:
        parsed = x509.load_pem_x509_certificate(read_file(certificate, "a certificate"))
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except ValueError:
        raise ConfigError(f"{certificate} is not a certificate in PEM: name the right file") from None
    return [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]


def _client_context(authority: Path | None) -> ssl.SSLContext:
    if authority is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    read_file(authority, "a CA's certificate")
    try:
        context.load_verify_locations(authority)
    except ssl.SSLError:
        raise ConfigError(f"{authority} is not a CA's certificate in PEM: name the right file") from None
    return context


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """Run both sides of a handshake in memory, until the client is content."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(4):
        try:
            theirs.do_handshake()
        except ssl.SSLWantReadError:
            pass
        else:
            return
        try:
            ours.do_handshake()
        except ssl.SSLWantReadError:
            continue


def _no_password(key: Path) -> Callable[[], str]:
    """Refuse an encrypted key with one line, rather than let OpenSSL ask on the terminal of a service."""

    def refuse() -> str:
        raise ConfigError(
            f"{key} is encrypted: a server that restarts by itself needs it without a passphrase"
        )

    return refuse
