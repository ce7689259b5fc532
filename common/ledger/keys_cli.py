"""The commands `fedledger keys ...`: make a key, look at one, hand a ledger to a new one."""

from __future__ import annotations

import base64
import os
import stat
import sys
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError, LedgerError
from common.ledger.keys import (
    PASSPHRASE_VARIABLE,
    SigningKey,
    fingerprint,
    is_protected,
    passphrase_from_environment,
)
from common.ledger.rotation import rotate as rotate_key

NEW_PASSPHRASE_VARIABLE = "FEDLEDGER_NEW_PASSPHRASE"  # noqa: S105 - the name, not the passphrase

KeyFile = Annotated[Path, typer.Argument(metavar="PATH", help="The key's file, such as keys/client-0.key.")]


def new(
    path: KeyFile,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help=f"Protect it: ${PASSPHRASE_VARIABLE}, or asked for.")
    ] = False,
) -> None:
    """Make a key for signing ledgers.

    Only its owner can read it, and an existing file is never overwritten.
    With $FEDLEDGER_PASSPHRASE set the key is protected by it, asked for or not.
    """
    _refuse_beside_ledgers(path)
    if path.exists():
        raise LedgerError(f"{path} exists already: a key is never overwritten, choose another PATH")
    secret = passphrase_from_environment()
    if passphrase and secret is None:
        secret = _ask_twice(PASSPHRASE_VARIABLE)
    key = SigningKey.generate()
    key.save(path, secret)
    _print_key(path, key)


def show(path: KeyFile) -> None:
    """Print a key's public half.

    And how its file is protected; never the private half.
    """
    _print_key(path, SigningKey.load(path, _passphrase_for(path)))


def rotate(
    ledger: Annotated[Path, typer.Argument(help="The ledger, such as RUN/ledgers/client-0.jsonl.")],
    key: Annotated[Path, typer.Option(metavar="PATH", help="The file of its key.")],
    passphrase: Annotated[
        bool,
        typer.Option(
            "--passphrase", help=f"Protect the new key by another: ${NEW_PASSPHRASE_VARIABLE}, or asked for."
        ),
    ] = False,
) -> None:
    """Hand a ledger to a new key.

    The new key signs every later entry; the old one is kept beside it, as PATH.retired-1.
    Without --passphrase the new key is protected as the old one is. Stop clients of this ledger first.
    """
    _refuse_beside_ledgers(key)
    secret = _passphrase_for(key)
    another = os.environ.get(NEW_PASSPHRASE_VARIABLE) if passphrase else secret
    successor = rotate_key(
        ledger,
        key,
        passphrase=secret,
        new_passphrase=another or (_ask_twice(NEW_PASSPHRASE_VARIABLE) if passphrase else None),
    )
    _print_key(key, successor)


def _print_key(path: Path, key: SigningKey) -> None:
    protected = "protected" if is_protected(path) else "not protected"
    typer.echo(f"public key   {base64.b64encode(key.public).decode('ascii')}")
    typer.echo(f"fingerprint  {fingerprint(key.public)}")
    typer.echo(f"file         {path}, {protected} by a passphrase")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        typer.echo(
            f"warning      others than its owner can use this file (mode {mode:04o}): chmod 600 {path}",
            err=True,
        )


def _refuse_beside_ledgers(path: Path) -> None:
    """Keep keys out of folders that are copied to others."""
    if any(path.parent.glob("*.jsonl")):
        raise ConfigError(
            f"{path.parent} holds ledgers, with which a key must not travel: choose a folder of its own, "
            f"such as {path.parent.parent / 'keys' / path.name}"
        )


def _passphrase_for(path: Path) -> str | None:
    """Return the passphrase from the environment, or ask for it where a key needs one."""
    secret = passphrase_from_environment()
    if secret is None and path.exists() and is_protected(path) and _can_ask():
        return _ask(f"Passphrase of {path}", twice=False)
    return secret


def _ask_twice(variable: str) -> str:
    if not _can_ask():
        raise ConfigError(
            f"--passphrase needs a terminal to ask on: put the passphrase into ${variable} instead"
        )
    return _ask("New passphrase", twice=True)


def _ask(question: str, *, twice: bool) -> str:
    try:
        return str(typer.prompt(question, hide_input=True, confirmation_prompt=twice, err=True))
    except typer.Abort:
        raise ConfigError("no passphrase was given, so nothing was done: try again") from None


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
