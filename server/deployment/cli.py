"""The commands of a deployment's server: certificates, who may connect, and serving."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import ConfigError
from server.deployment.node_keys import make_client_key, read_public_key
from server.deployment.pki import make_server_certificate

if TYPE_CHECKING:
    from server.deployment.tls import TlsFiles

StateOption = Annotated[
    Path, typer.Option("--state", help="The server's folder; else ./server-state.", show_default=False)
]


def pki_init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for CA and certificate.")],
    host: Annotated[
        list[str], typer.Option("--host", help="DNS name or IP address of the server; repeatable.")
    ],
) -> None:
    """Make a CA and the server's certificate; in a folder with a CA, a new certificate under it."""
    files = make_server_certificate(folder, host)
    typer.echo(f"Server certificate {files.certificate} for {', '.join(host)}, valid 13 months.")
    typer.echo(f"Give {files.authority} to every client, by a way that cannot be tampered with.")
    typer.echo(f"Keep {files.authority_key} offline: it is needed for the next certificate only.")


def pki_client(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the key.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The client's name.")],
) -> None:
    """Make the key of a client's node; best on the client's own machine."""
    private, public = make_client_key(folder, name)
    typer.echo(f"Private key {private}: it stays on the client's machine.")
    typer.echo(f"Public key {public}: hand it to the server's operator (`fedledger enroll {public.name}`).")


def enroll(
    public_key: Annotated[
        Path | None, typer.Argument(metavar="NAME.pub", help="Public key of a client's node.")
    ] = None,
    state: StateOption = Path("server-state"),
    name: Annotated[str | None, typer.Option("--name", help="The client's name; else the file's.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List who is enrolled.")] = False,
) -> None:
    """Let a client's node connect to the running server."""
    from server.deployment.status import enrolments_in_words, with_control

    if listed:
        typer.echo(enrolments_in_words(state))
        return
    if public_key is None:
        raise ConfigError("whom? give the client's public key (NAME.pub), or --list")
    pem = read_public_key(public_key)
    with with_control(state) as (control, enrolments):
        entry = enrolments.enroll(control, name or public_key.stem, pem)
    typer.echo(f"{entry.name} is enrolled as node {entry.node_id}.")


def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of an enrolled client.")],
    state: StateOption = Path("server-state"),
) -> None:
    """Shut a client's key out of the running server, for ever."""
    from server.deployment.status import with_control

    with with_control(state) as (control, enrolments):
        entry = enrolments.revoke(control, name)
    typer.echo(f"{entry.name} is revoked: its key is refused from its next request on.")


def status(
    state: StateOption = Path("server-state"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the running server, its clients with what is left of their budgets, and its runs."""
    from server.deployment.status import print_status

    print_status(state, as_json=as_json)


def server(
    state: StateOption = Path("server-state"),
    pki: Annotated[Path | None, typer.Option(help="Folder of `fedledger pki init`.")] = None,
    cert: Annotated[
        Path | None, typer.Option(help="Certificate of your own CA (PEM, with its chain).")
    ] = None,
    cert_key: Annotated[Path | None, typer.Option(help="Private key of --cert (PEM).")] = None,
    ca: Annotated[Path | None, typer.Option(help="CA of --cert that clients hold (PEM).")] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on, else 127.0.0.1; 0.0.0.0 or :: for all.", show_default=False),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port, else 8443; 0 takes a free one.", show_default=False)
    ] = 8443,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Plain HTTP between programs of one machine; for trials.")
    ] = False,
    metrics_port: Annotated[
        int,
        typer.Option(help="Port of Prometheus metrics on loopback; else a free one.", show_default=False),
    ] = 0,
    max_body_mib: Annotated[
        int,
        typer.Option(
            help="Largest request, from 8 on, else 64; a model comes in pieces of 5 MiB.", show_default=False
        ),
    ] = 64,
    log_format: Annotated[
        str, typer.Option(help="text (as without it) or json.", show_default=False)
    ] = "text",
) -> None:
    """Serve clients over TLS until Ctrl-C."""
    from common.logs import begin_logging
    from server.deployment.limits import MIB, Limits
    from server.deployment.serving import ServerOptions, serve

    if log_format not in ("text", "json"):
        raise ConfigError(f"--log-format {log_format!r} is not known: give text or json")
    _check_numbers(port, metrics_port, max_body_mib)
    tls = None if insecure else _tls_files(pki, cert, cert_key, ca)
    begin_logging(log_format, heard=("uvicorn.error", "asyncio"))
    limits = Limits(body_bytes=max_body_mib * MIB)
    serve(ServerOptions(state=state, host=host, port=port, tls=tls, metrics_port=metrics_port, limits=limits))


def _check_numbers(port: int, metrics_port: int, max_body_mib: int) -> None:
    for option, value in (("--port", port), ("--metrics-port", metrics_port)):
        if not 0 <= value <= 65535:
            raise ConfigError(f"{option} {value} is not a port: give 0 to 65535")
    if not 8 <= max_body_mib <= 2048:
        raise ConfigError(f"--max-body-mib {max_body_mib} is out of range: give 8 to 2048")


def _tls_files(pki: Path | None, cert: Path | None, cert_key: Path | None, ca: Path | None) -> TlsFiles:
    from server.deployment.tls import TlsFiles

    if pki is not None and cert is None:
        return TlsFiles.of_folder(pki)
    if pki is None and cert is not None and cert_key is not None:
        return TlsFiles(certificate=cert, key=cert_key, authority=ca)
    raise ConfigError(
        "the server needs one certificate: give --pki DIR (made by `fedledger pki init`), or both --cert and "
        "--cert-key"
    )
