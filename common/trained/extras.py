"""Libraries that only some commands need, asked for when one is used."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from common.errors import ConfigError


def require_extra(extra: str, libraries: Iterable[str], instead: str = "") -> None:
    """Make sure that the libraries of an extra are installed.

    Args:
        extra: its name in pyproject.toml.
        libraries: what is imported of it.
        instead: what can be done without it, if anything.

    Raises:
        ConfigError: naming the first library that is missing, and the command that installs it.
    """
    for library in libraries:
        try:
            importlib.import_module(library)
        except ModuleNotFoundError as error:
            way_out = f"pip install -e '.[{extra}]'{instead}"
            raise ConfigError(f"this needs {error.name}, which is not installed: {way_out}") from None
