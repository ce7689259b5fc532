"""The commands of a site: run its client, and explain its policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.config import Settings, join_assignments, parse_assignment
from common.errors import ConfigError


def client(
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="The server's gateway.")],
    policy: Annotated[Path, typer.Option(help="What this site permits (policy.toml).")],
    state: Annotated[Path, typer.Option(help="The client's own folder: ledger, keys, kept updates.")],
    ca: Annotated[Path | None, typer.Option(help="Certificate of the server's CA (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="This node's private key (`pki client`).")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="This site's images: DIR/train/<class>/.")] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="I/N", help="Instead: part I of N of a data set; for trials.")
    ] = None,
    number: Annotated[
        int | None, typer.Option(min=0, max=999_999, help="This client's number, with --data-dir.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="data.*, runtime.device, ...; repeatable."),
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Plain HTTP, to 127.0.0.1 only.")] = False,
    keep_warm: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds after its last message that the model stays loaded, else 300.",
            show_default=False,
        ),
    ] = 300.0,
    log_format: Annotated[str, typer.Option(help="text or json.")] = "text",
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the SuperNode says too.")] = False,
) -> None:
    """Take part in a server's runs, on this site's images and within its policy, until Ctrl-C."""
    import logging

    from client.deployment.addresses import check_server
    from client.deployment.serving import ClientOptions, serve
    from client.policy_file import read_policy
    from common.logs import begin_logging

    if log_format not in ("text", "json"):
        raise ConfigError(f"--log-format {log_format!r} is not known: give text or json")
    level = logging.DEBUG if verbose else logging.INFO
    begin_logging(log_format, level=level)
    check_server(server, insecure=insecure)
    _check_keys(ca, key, insecure=insecure)
    options = ClientOptions(
        server=server,
        authority=None if insecure else ca,
        key=None if insecure else key,
        state=state,
        policy=read_policy(policy),
        data_dir=data_dir,
        partition=partition,
        number=number,
        settings=_settings(assignments),
        warm_seconds=keep_warm,
        log_format=log_format,
        log_level=level,
    )
    serve(options)


def policy_check(file: Annotated[Path, typer.Argument(help="A site's policy.toml.")]) -> None:
    """Read a policy as the client would, and say in words what it permits."""
    from client.policy_check import check_policy
    from client.policy_text import explain

    typer.echo(explain(check_policy(file)))


def _settings(assignments: list[str] | None) -> Settings:
    from client.deployment.facts import check_settable

    return check_settable(join_assignments(map(parse_assignment, assignments or [])))


def _check_keys(ca: Path | None, key: Path | None, *, insecure: bool) -> None:
    if insecure:
        if ca or key:
            raise ConfigError("--insecure uses neither --ca nor --key: leave out the one or the others")
        return
    for name, file, what in (("--ca", ca, "the CA's certificate"), ("--key", key, "the node's private key")):
        if file is None:
            raise ConfigError(f"{name} FILE is needed, {what} (--insecure is for trials on one machine)")
        if not file.is_file():
            raise ConfigError(f"{name} {file} is not a file: give {what}")
    if ca is not None and key is not None:
        from client.deployment.credentials import check_authority, check_node_key

        check_authority(ca)
        check_node_key(key)
