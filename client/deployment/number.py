"""A client's number, by which its ledger is named: one folder, one number, for ever."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from client.deployment.credentials import number_of_key
from common.errors import ConfigError
from common.run_folder import write_atomically

_OF_CLIENT = re.compile(r"client-(\d{1,6})\.")
_NUMBERS = 1_000_000


def keep_number(state: Path, wanted: int | None, *, key: Path | None = None) -> int:
    """Return the client's number, and keep it where it is new.

    At first it is the one wanted, or that of the node's key, or drawn where there is no key.

    Args:
        state: the client's own folder.
        wanted: the number that was given, or None.
        key: the node's private key, or None.

    Raises:
        ConfigError: when the folder has another number, or it was lost and the ledger has another.
    """
    file = state / "number"
    try:
        held = int(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        held = _first(key) if wanted is None else wanted
        _refuse_lost(state, held)
        write_atomically(file, f"{held}\n".encode())
    except ValueError:
        raise ConfigError(f"{file} does not hold a number: put back the one in the ledger's name") from None
    if wanted not in (None, held):
        raise ConfigError(
            f"{state} is the folder of client {held}, not {wanted}: leave out --number, or name the --state "
            f"of client {wanted}"
        )
    return held


def _refuse_lost(state: Path, number: int) -> None:
    """Refuse to make a number, and with it another ledger, where the folder has those of others."""
    for what, places in (("ledger", "ledgers/client-*.jsonl"), ("key", "keys/client-*.*")):
        begun = {match[1] for path in state.glob(places) if (match := _OF_CLIENT.match(path.name))}
        if begun and str(number) not in begun:
            known = " or ".join(sorted(begun))
            raise ConfigError(
                f"{state} holds the {what} of client {known}, but no file number: put it back, or give "
                f"--number {known}, or name another --state"
            )


def _first(key: Path | None) -> int:
    if key is None:
        return secrets.randbelow(_NUMBERS)
    return number_of_key(key.expanduser(), _NUMBERS)
